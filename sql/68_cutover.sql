/*
 * 68_cutover.sql
 *		Changing over from the source to a destination, and back.
 */

CREATE TABLE flo.cutovers (
	group_name text NOT NULL REFERENCES flo.groups ON DELETE CASCADE,
	worker_name text NOT NULL,
	role text NOT NULL CHECK (role IN ('source', 'destination')),
	attempt bigint NOT NULL,
	state text NOT NULL,
	reverse text,
	reverse_made bool NOT NULL DEFAULT false,
	consumer text,
	dry_run bool NOT NULL DEFAULT false,
	compares bool NOT NULL DEFAULT false,
	opens bool NOT NULL DEFAULT true,
	cancel_asked bool NOT NULL DEFAULT false,
	max_lag interval NOT NULL DEFAULT '5 s',
	timeout interval NOT NULL DEFAULT '1 min',
	tables jsonb,
	options jsonb,
	comparison bigint,
	lsn pg_lsn,
	sqlstate text,
	problem text,
	hint text,
	requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (group_name, worker_name)
);
COMMENT ON TABLE flo.cutovers IS 'The newest cut-over of each group, as this side of it stands; never saved by pg_dump';
COMMENT ON COLUMN flo.cutovers.group_name IS 'group';
COMMENT ON COLUMN flo.cutovers.worker_name IS 'worker; replicator at the source';
COMMENT ON COLUMN flo.cutovers.role IS 'which side this is: source or destination';
COMMENT ON COLUMN flo.cutovers.attempt IS 'number of the attempt, rises';
COMMENT ON COLUMN flo.cutovers.state IS 'at the source requested, preparing, fenced, cancelling, and in the end checked, cancelled, released, forced or returned; at the destination checking, preparing, prepared, arrived, and in the end checked, cancelled or open';
COMMENT ON COLUMN flo.cutovers.reverse IS 'group of the way back';
COMMENT ON COLUMN flo.cutovers.reverse_made IS 'whether this attempt has made this side of it, which goes when the attempt is undone';
COMMENT ON COLUMN flo.cutovers.consumer IS 'consumer of the destination''s worker';
COMMENT ON COLUMN flo.cutovers.dry_run IS 'nothing but checks';
COMMENT ON COLUMN flo.cutovers.compares IS 'the tables are compared before the destination opens';
COMMENT ON COLUMN flo.cutovers.opens IS 'the destination opens as soon as it has everything, else when it is told';
COMMENT ON COLUMN flo.cutovers.cancel_asked IS 'somebody wants it undone';
COMMENT ON COLUMN flo.cutovers.max_lag IS 'how far behind destinations may be';
COMMENT ON COLUMN flo.cutovers.timeout IS 'how long preparing, and how long the fence without an open destination, may last';
COMMENT ON COLUMN flo.cutovers.tables IS 'OIDs of the tables of this side';
COMMENT ON COLUMN flo.cutovers.options IS 'options for the replicator of the way back';
COMMENT ON COLUMN flo.cutovers.comparison IS 'id in flo.comparisons';
COMMENT ON COLUMN flo.cutovers.lsn IS 'of the source: up to where destinations have to be';
COMMENT ON COLUMN flo.cutovers.sqlstate IS 'SQLSTATE of what went wrong';
COMMENT ON COLUMN flo.cutovers.problem IS 'what went wrong';
COMMENT ON COLUMN flo.cutovers.hint IS 'what helps';
COMMENT ON COLUMN flo.cutovers.requested_at IS 'when the attempt began here';
COMMENT ON COLUMN flo.cutovers.changed_at IS 'when it came into this state';

CREATE TABLE flo.cutover_steps (
	group_name text NOT NULL,
	worker_name text NOT NULL,
	number bigint GENERATED ALWAYS AS IDENTITY,
	attempt bigint NOT NULL,
	step text NOT NULL,
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	detail text,
	PRIMARY KEY (group_name, worker_name, number),
	FOREIGN KEY (group_name, worker_name) REFERENCES flo.cutovers ON DELETE CASCADE
);
COMMENT ON TABLE flo.cutover_steps IS 'What has happened in cut-overs, as this side knows it';
COMMENT ON COLUMN flo.cutover_steps.group_name IS 'group';
COMMENT ON COLUMN flo.cutover_steps.worker_name IS 'worker; replicator at the source';
COMMENT ON COLUMN flo.cutover_steps.number IS 'rises';
COMMENT ON COLUMN flo.cutover_steps.attempt IS 'number of the attempt';
COMMENT ON COLUMN flo.cutover_steps.step IS 'check, prepare, fence, arrive, compare, open, undo';
COMMENT ON COLUMN flo.cutover_steps.at IS 'when';
COMMENT ON COLUMN flo.cutover_steps.detail IS 'what';

ALTER TABLE flo.cutovers ENABLE ROW LEVEL SECURITY;
CREATE POLICY owner ON flo.cutovers FOR SELECT USING (flo.owns_member(group_name));
COMMENT ON POLICY owner ON flo.cutovers IS 'cut-overs are shown to owners of members of the group';
ALTER TABLE flo.cutover_steps ENABLE ROW LEVEL SECURITY;
CREATE POLICY owner ON flo.cutover_steps FOR SELECT USING (flo.owns_member(group_name));
COMMENT ON POLICY owner ON flo.cutover_steps IS 'steps are shown to owners of members of the group';

CREATE FUNCTION flo.cutover(group_name text, reverse text DEFAULT NULL, max_lag interval DEFAULT '5 s', compare bool DEFAULT false,
	timeout interval DEFAULT '1 min', dry_run bool DEFAULT false, worker_name text DEFAULT NULL)
	RETURNS TABLE (step text, at timestamptz, detail text)
	AS 'MODULE_PATHNAME', 'flo_cutover_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.cutover(text, text, interval, bool, interval, bool, text) IS
'Makes a destination the primary: called at the source, fences the group''s tables here, waits until the destination has everything and has opened, and with reverse makes the group of that name, by which this side follows from then on (not named: the one that brought rows the other way before, if there is one). Each step is told as it happens; what fails before the destination is open is undone. It goes on when the session ends. Errors: 42704 unknown group, 42501 not the owner, 22023 bad value, 25001 in a transaction that has written, 55000 not possible now, 57014 undone after timeout';
