-- "From where" is asked of the audit log as often as "who".
CREATE INDEX audit_log_by_address ON audit_log ((entry ->> 'address'), seq DESC);
