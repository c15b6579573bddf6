"""The security audit scanner: hard-coded secrets, SQL injection, XSS, weak cryptography, open CORS."""
