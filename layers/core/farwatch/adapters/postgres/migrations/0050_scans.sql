-- Results of security scans: what ./farwatch scan found in a tree, and how that differs from the scan before.

CREATE TABLE scans (
    id           text PRIMARY KEY,                  -- ordered by time
    target       text NOT NULL,
    received_at  timestamptz NOT NULL,
    actor_kind   text NOT NULL,
    actor_id     text NOT NULL,
    files        integer NOT NULL,
    seconds      real NOT NULL,
    suppressed   integer NOT NULL,
    skipped      integer NOT NULL,
    left_out     integer NOT NULL,
    counts       jsonb NOT NULL,                    -- severity -> how many
    previous_id  text,                              -- the scan it was compared with, which may be gone by now
    appeared     integer NOT NULL,
    fixed        integer NOT NULL,
    remained     integer NOT NULL
);
CREATE INDEX scans_by_target ON scans (target, id DESC);

CREATE TABLE scan_findings (
    scan_id      text NOT NULL REFERENCES scans (id) ON DELETE CASCADE,
    place        integer NOT NULL,                  -- worst first
    fingerprint  text NOT NULL,
    severity     text NOT NULL,
    rule         text NOT NULL,
    appeared     boolean NOT NULL,                  -- was not in the scan before
    finding      jsonb NOT NULL,
    PRIMARY KEY (scan_id, place),
    UNIQUE (scan_id, fingerprint)
);
