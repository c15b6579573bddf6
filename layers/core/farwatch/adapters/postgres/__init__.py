"""PostgreSQL: the truth (hosts, rules, incidents, people, audit) and, by default, the samples."""
