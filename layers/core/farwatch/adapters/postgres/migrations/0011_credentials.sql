-- What machines prove themselves with: agents' credentials, the tokens that enrol them, and API tokens.

CREATE TABLE enrolment_tokens (
    id           text PRIMARY KEY,
    secret_hash  bytea NOT NULL,
    name         text NOT NULL,
    host_id      text REFERENCES hosts (id) ON DELETE CASCADE,  -- set: re-enrols this host and no other
    labels       jsonb NOT NULL DEFAULT '{}',
    max_uses     integer CHECK (max_uses > 0),                  -- NULL: as often as wanted until it expires
    uses         integer NOT NULL DEFAULT 0,
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz
);

CREATE TABLE agent_credentials (
    id            text PRIMARY KEY,
    host_id       text NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    secret_hash   bytea NOT NULL,
    issued_at     timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz,                                  -- set when another credential replaces it
    last_used_at  timestamptz,
    revoked_at    timestamptz
);
CREATE INDEX agent_credentials_by_host ON agent_credentials (host_id);

ALTER TABLE hosts ADD COLUMN clone_suspected_at timestamptz;
CREATE INDEX hosts_by_machine ON hosts (machine_id) WHERE retired_at IS NULL AND machine_id <> '';

CREATE TABLE api_tokens (
    id            text PRIMARY KEY,
    secret_hash   bytea NOT NULL,
    name          text NOT NULL,
    owner_id      text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    scopes        text[] NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz NOT NULL,
    last_used_at  timestamptz,
    revoked_at    timestamptz
);
CREATE INDEX api_tokens_by_owner ON api_tokens (owner_id);
