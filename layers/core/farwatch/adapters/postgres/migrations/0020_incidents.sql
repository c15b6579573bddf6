-- Incidents, what is known of signals, the timeline, and the outbox of events. Times are epoch milliseconds.

CREATE TABLE incidents (
    id               text PRIMARY KEY,
    group_key        text NOT NULL,
    status           text NOT NULL CHECK (status IN ('open', 'acknowledged', 'resolved')),
    severity         text NOT NULL CHECK (severity IN ('critical', 'high', 'warning', 'info')),
    peak             text NOT NULL CHECK (peak IN ('critical', 'high', 'warning', 'info')),
    title            text NOT NULL,
    reason           text NOT NULL,
    host_id          text,  -- no foreign key: the history of a removed host stays readable
    host_name        text NOT NULL,
    host_labels      jsonb NOT NULL,
    lead             text,
    opened_at        bigint NOT NULL,
    announce_at      bigint NOT NULL,
    announced        boolean NOT NULL,
    paged            boolean NOT NULL,
    acknowledged_at  bigint,
    acknowledged_by  text,
    assignee         text,
    resolved_at      bigint,
    resolution       text NOT NULL,
    evidence         jsonb NOT NULL,
    version          integer NOT NULL,
    event_count      integer NOT NULL
);
-- One page, not thirty: the database itself refuses a second active incident of a group.
CREATE UNIQUE INDEX incidents_one_active_per_group ON incidents (group_key) WHERE status <> 'resolved';
CREATE INDEX incidents_by_time ON incidents (opened_at DESC, id DESC);
CREATE INDEX incidents_by_host ON incidents (host_id, opened_at DESC);
CREATE INDEX incidents_to_announce ON incidents (announce_at) WHERE status <> 'resolved' AND NOT announced;

-- The last statement heard of each fingerprint, as domain.incidents.TrackedSignal.
CREATE TABLE signals (
    group_key    text NOT NULL,
    fingerprint  text NOT NULL,
    host_id      text NOT NULL,
    kind         text NOT NULL,
    state        text NOT NULL,
    incident_id  text,
    heard_at     bigint NOT NULL,
    resolved_at  bigint,
    body         jsonb NOT NULL,
    PRIMARY KEY (group_key, fingerprint)
);
CREATE INDEX signals_firing ON signals (heard_at) WHERE state = 'firing';
CREATE INDEX signals_by_incident ON signals (incident_id);

-- The signals of each incident as they stood when it last heard of them.
CREATE TABLE incident_signals (
    incident_id  text NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
    fingerprint  text NOT NULL,
    body         jsonb NOT NULL,
    PRIMARY KEY (incident_id, fingerprint)
);

CREATE TABLE incident_timeline (
    position     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id  text NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
    at           bigint NOT NULL,
    kind         text NOT NULL,
    text         text NOT NULL,
    actor        text NOT NULL,
    fingerprint  text
);
CREATE INDEX incident_timeline_by_incident ON incident_timeline (incident_id, position);

-- The outbox.
CREATE TABLE incident_events (
    id                text PRIMARY KEY,
    incident_id       text NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
    seq               integer NOT NULL,
    kind              text NOT NULL,
    at                bigint NOT NULL,
    channels          text[] NOT NULL,  -- which queues must give a receipt
    body              jsonb NOT NULL,
    publish_count     integer NOT NULL DEFAULT 0,
    next_publish_at   bigint,           -- NULL: nothing left to do
    UNIQUE (incident_id, seq)
);
CREATE INDEX incident_events_to_publish ON incident_events (next_publish_at) WHERE next_publish_at IS NOT NULL;

-- A channel has planned its deliveries of an event.
CREATE TABLE event_receipts (
    event_id  text NOT NULL REFERENCES incident_events (id) ON DELETE CASCADE,
    channel   text NOT NULL,
    at        bigint NOT NULL,
    PRIMARY KEY (event_id, channel)
);

-- What sweep does each minute and how it went.
CREATE TABLE sweep_steps (
    step         text PRIMARY KEY,
    last_run_at  bigint NOT NULL,
    last_ok_at   bigint,
    failures     integer NOT NULL DEFAULT 0,  -- in a row
    last_error   text NOT NULL DEFAULT ''
);
-- Since when sweep has run without a gap: silence is only believed of a host that had a chance to be heard.
CREATE TABLE sweep_clock (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),  -- a single row
    since     bigint NOT NULL,
    last_run  bigint NOT NULL
);
