-- Rules are documents (farwatch.domain.rules.Rule); the version is the ETag.
CREATE TABLE rules (
    id          text PRIMARY KEY,
    name        text NOT NULL,
    document    jsonb NOT NULL,
    version     bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
