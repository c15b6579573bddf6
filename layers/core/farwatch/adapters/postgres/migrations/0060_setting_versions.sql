-- Versions for optimistic locking: of what people set of the fleet, and of a host.

ALTER TABLE config ADD COLUMN version bigint NOT NULL DEFAULT 1;
ALTER TABLE hosts ADD COLUMN version bigint NOT NULL DEFAULT 1;
