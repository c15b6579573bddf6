-- The audit log: rows can be added and read, nothing else, and each row carries the hash of the one before it.
-- "entry" is of type json, not jsonb, because json keeps the exact text that the hash covers.

CREATE TABLE audit_log (
    seq         bigint PRIMARY KEY,
    entry       json NOT NULL,
    previous    bytea NOT NULL,
    hash        bytea NOT NULL,
    at          bigint GENERATED ALWAYS AS ((entry ->> 'at')::bigint) STORED,
    actor_kind  text GENERATED ALWAYS AS (entry ->> 'actor_kind') STORED,
    actor_id    text GENERATED ALWAYS AS (entry ->> 'actor_id') STORED,
    action      text GENERATED ALWAYS AS (entry ->> 'action') STORED,
    target      text GENERATED ALWAYS AS (entry ->> 'target') STORED,
    outcome     text GENERATED ALWAYS AS (entry ->> 'outcome') STORED
);
CREATE INDEX audit_log_by_actor ON audit_log (actor_id, seq DESC);
CREATE INDEX audit_log_by_action ON audit_log (action, seq DESC);
CREATE INDEX audit_log_by_target ON audit_log (target, seq DESC);

CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER audit_log_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();
