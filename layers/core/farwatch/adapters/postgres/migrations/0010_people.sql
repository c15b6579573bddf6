-- People, their invitations and password resets. Tokens are stored as keyed hashes, passwords as argon2id.

CREATE TABLE users (
    id                   text PRIMARY KEY,
    email                text NOT NULL,
    name                 text NOT NULL,
    role                 text NOT NULL CHECK (role IN ('admin', 'operator', 'viewer', 'guest')),
    password_hash        text,                       -- NULL: signs in through the identity provider only
    identity             text UNIQUE,                -- issuer and subject at the identity provider
    created_at           timestamptz NOT NULL DEFAULT now(),
    last_login_at        timestamptz,
    password_changed_at  timestamptz,
    disabled_at          timestamptz,
    version              integer NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX users_by_email ON users (lower(email));

CREATE TABLE invitations (
    id           text PRIMARY KEY,
    email        text NOT NULL,
    name         text NOT NULL,
    role         text NOT NULL CHECK (role IN ('admin', 'operator', 'viewer', 'guest')),
    token_hash   bytea NOT NULL UNIQUE,
    invited_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    accepted_at  timestamptz,
    revoked_at   timestamptz
);

CREATE TABLE password_resets (
    token_hash  bytea PRIMARY KEY,
    user_id     text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz
);
