-- What people said of anomalies. The anomaly itself stays as it was raised; taking a verdict back is deleting its row.
CREATE TABLE anomaly_feedback (
    anomaly_id  text PRIMARY KEY REFERENCES anomalies (id) ON DELETE CASCADE,
    verdict     text NOT NULL CHECK (verdict IN ('false_alarm', 'real')),
    said_by     text NOT NULL,
    said_at     timestamptz NOT NULL DEFAULT now()
);

-- When the series left its expected range, as it was known when the anomaly was raised.
ALTER TABLE anomalies ADD COLUMN since timestamptz;

-- Pages run from the newest backwards, with the id to part equal times.
CREATE INDEX anomalies_page ON anomalies (at DESC, id DESC);
DROP INDEX anomalies_by_time;
