-- Hosts, series, samples and what agents have had stored.

CREATE TABLE hosts (
    id              text PRIMARY KEY,
    name            text NOT NULL,
    labels          jsonb NOT NULL DEFAULT '{}',
    os              text NOT NULL DEFAULT '',
    agent_version   text NOT NULL DEFAULT '',
    machine_id      text NOT NULL DEFAULT '',
    facts           jsonb NOT NULL DEFAULT '{}',
    enrolled_at     timestamptz NOT NULL DEFAULT now(),
    last_seen_at    timestamptz,
    interval_s      double precision CHECK (interval_s BETWEEN 1 AND 3600),  -- NULL: the fleet's default
    may_be_off      boolean NOT NULL DEFAULT false,
    retired_at      timestamptz
);
CREATE INDEX hosts_live ON hosts (name) WHERE retired_at IS NULL;

-- Fleet-wide configuration that people change at run time; one row per key.
CREATE TABLE config (
    key         text PRIMARY KEY,
    value       jsonb NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    updated_by  text
);

-- The highest sequence number stored without a gap, per agent spool: the promise behind stored_through.
CREATE TABLE agent_progress (
    host_id         text NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    spool_id        text NOT NULL,
    stored_through  bigint NOT NULL,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (host_id, spool_id)
);

CREATE TABLE series (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host_id     text NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    metric      text NOT NULL,
    labels      jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (host_id, metric, labels)
);

-- Raw samples; "at" is epoch milliseconds. Partitioned by day: the store creates and drops partitions.
CREATE TABLE samples (
    series_id  bigint NOT NULL,
    at         bigint NOT NULL,
    value      double precision NOT NULL,
    PRIMARY KEY (series_id, at)
) PARTITION BY RANGE (at);

-- One row per series and bucket; tier is the bucket's width in seconds (60 or 3600), "at" its start in epoch ms.
CREATE TABLE rollups (
    tier       integer NOT NULL,
    series_id  bigint NOT NULL,
    at         bigint NOT NULL,
    count      bigint NOT NULL,
    mean       double precision NOT NULL,
    min        double precision NOT NULL,
    max        double precision NOT NULL,
    PRIMARY KEY (tier, series_id, at)
);
CREATE INDEX rollups_by_time ON rollups (tier, at);

-- How far the roll-ups have come, and the ranges that late samples reopened.
CREATE TABLE rollup_progress (
    id      boolean PRIMARY KEY DEFAULT true CHECK (id),
    until   bigint NOT NULL
);
CREATE TABLE rollup_late (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host_id  text NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    start    bigint NOT NULL,
    stop     bigint NOT NULL
);

-- Anomalies as they were raised: the anomaly bit, never rewritten.
CREATE TABLE anomalies (
    id          text PRIMARY KEY,
    host_id     text NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    series_id   bigint,
    metric      text NOT NULL,
    labels      jsonb NOT NULL DEFAULT '{}',
    detector    text NOT NULL,
    at          timestamptz NOT NULL,
    raised_at   timestamptz NOT NULL DEFAULT now(),
    value       double precision,
    score       double precision NOT NULL,
    expected_low   double precision,
    expected_high  double precision,
    pattern     text NOT NULL DEFAULT '',
    reason      text NOT NULL DEFAULT '',
    UNIQUE (host_id, detector, metric, labels, at)
);
CREATE INDEX anomalies_by_time ON anomalies (at DESC);
CREATE INDEX anomalies_by_host ON anomalies (host_id, at DESC);
