"""Redis (or Valkey): caches, sessions, rate limits, detector state, connections, latest values. All of it can be lost."""
