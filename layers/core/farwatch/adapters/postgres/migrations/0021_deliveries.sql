-- Channels, people's preferences, deliveries and in-app notifications. Times are epoch milliseconds.

CREATE TABLE channels (
    id            text PRIMARY KEY,
    kind          text NOT NULL CHECK (kind IN ('email', 'slack', 'pagerduty')),
    name          text NOT NULL,
    config        jsonb NOT NULL,
    secret        bytea NOT NULL,      -- sealed with AES-GCM; never leaves the back end
    enabled       boolean NOT NULL DEFAULT true,
    min_severity  text NOT NULL DEFAULT 'info' CHECK (min_severity IN ('critical', 'high', 'warning', 'info')),
    healthy       boolean,             -- NULL: not tried yet
    health_at     bigint,
    health_error  text NOT NULL DEFAULT '',
    created_at    bigint NOT NULL,
    version       integer NOT NULL DEFAULT 1
);
-- One mail server; as many Slack and PagerDuty destinations as a team wants.
CREATE UNIQUE INDEX channels_one_mail_server ON channels (kind) WHERE kind = 'email';

CREATE TABLE preferences (
    user_id       text PRIMARY KEY,    -- no foreign key: migrations of people and of this may come in either order
    address       text NOT NULL DEFAULT '',
    channels      text[] NOT NULL DEFAULT '{email,slack,pagerduty,in_app}',
    min_severity  text NOT NULL DEFAULT 'info' CHECK (min_severity IN ('critical', 'high', 'warning', 'info')),
    timezone      text NOT NULL DEFAULT 'UTC',
    personal      bytea,               -- sealed: this person's own Slack webhook and PagerDuty key
    personal_kinds text[] NOT NULL DEFAULT '{}',
    version       integer NOT NULL DEFAULT 1
);

CREATE TABLE deliveries (
    id               text PRIMARY KEY,
    event_id         text NOT NULL REFERENCES incident_events (id) ON DELETE CASCADE,
    incident_id      text NOT NULL,
    event_seq        integer NOT NULL,
    event_kind       text NOT NULL,
    channel          text NOT NULL,
    recipient        text NOT NULL,
    state            text NOT NULL CHECK (state IN
                     ('pending', 'sending', 'delivered', 'failed', 'dead', 'suppressed')),
    attempts         integer NOT NULL DEFAULT 0,
    next_attempt_at  bigint NOT NULL,
    lease_until      bigint,
    created_at       bigint NOT NULL,
    delivered_at     bigint,
    provider_id      text NOT NULL DEFAULT '',
    last_error       text NOT NULL DEFAULT '',
    UNIQUE (event_id, channel, recipient)
);
CREATE INDEX deliveries_by_incident ON deliveries (incident_id, channel, event_seq);
CREATE INDEX deliveries_waiting ON deliveries (next_attempt_at) WHERE state IN ('pending', 'sending');
CREATE INDEX deliveries_by_time ON deliveries (created_at DESC, id DESC);

CREATE TABLE delivery_attempts (
    delivery_id   text NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    number        integer NOT NULL,
    at            bigint NOT NULL,
    outcome       text NOT NULL,
    detail        text NOT NULL DEFAULT '',
    milliseconds  integer NOT NULL,
    PRIMARY KEY (delivery_id, number)
);

CREATE TABLE notifications (
    id           text PRIMARY KEY,
    user_id      text NOT NULL,
    event_id     text NOT NULL,
    incident_id  text NOT NULL,
    kind         text NOT NULL,
    severity     text NOT NULL,
    title        text NOT NULL,
    text         text NOT NULL,
    created_at   bigint NOT NULL,
    read_at      bigint,
    UNIQUE (user_id, event_id)
);
CREATE INDEX notifications_of_user ON notifications (user_id, created_at DESC, id DESC);
CREATE INDEX notifications_unread ON notifications (user_id) WHERE read_at IS NULL;
