-- An agent's renewed credential counts from its first use; what it replaces ends after that, and never before.

ALTER TABLE agent_credentials
    ADD COLUMN activated_at    timestamptz,  -- first use; NULL while a renewed credential waits for it
    ADD COLUMN superseded_at   timestamptz,  -- when another credential of the host was used in its place
    ADD COLUMN reuse_noted_at  timestamptz;  -- when its use after that was last put into the audit log

UPDATE agent_credentials SET activated_at = issued_at;
