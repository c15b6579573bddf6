-- Forecasts as they were made, how they turned out, and the newest outlook of each watched series. Times are epoch ms.

CREATE TABLE forecasts (
    id         text PRIMARY KEY,
    host_id    text NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    metric     text NOT NULL,
    labels     jsonb NOT NULL,
    model      text NOT NULL,
    horizon_s  integer NOT NULL,
    made_at    bigint NOT NULL,
    made_by    text NOT NULL,
    state      text NOT NULL CHECK (state IN ('pending', 'ready', 'failed')),
    start      bigint NOT NULL,
    step_s     integer NOT NULL,
    quantiles  jsonb NOT NULL,
    error      text NOT NULL,
    ends_at    bigint NOT NULL,
    scored     boolean NOT NULL DEFAULT false,
    score      jsonb
);
CREATE INDEX forecasts_by_question ON forecasts (host_id, metric, model, made_at DESC);
CREATE INDEX forecasts_by_time ON forecasts (made_at DESC, id DESC);
CREATE INDEX forecasts_due ON forecasts (ends_at) WHERE state = 'ready' AND NOT scored;

CREATE TABLE outlooks (
    host_id      text NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    metric       text NOT NULL,
    labels       jsonb NOT NULL,
    at           bigint NOT NULL,
    threshold    double precision NOT NULL,
    current      double precision NOT NULL,
    per_day      double precision NOT NULL,
    median_s     double precision,
    low_s        double precision,
    high_s       double precision,
    alert        text,
    alert_since  bigint NOT NULL,
    PRIMARY KEY (host_id, metric, labels)
);
