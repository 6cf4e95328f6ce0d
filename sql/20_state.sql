/*
 * 20_state.sql
 *		How far a group is: tables that pg_flo's processes write.  Never saved
 *		by pg_dump.
 *
 * What is of a replicator or of a worker goes with its row in flo.sources or
 * flo.workers, and what is of a group with its row in flo.groups.  Where the
 * replicator and workers have rows in one table (shaped_tables, copied_tables,
 * secrets), the group's row is all that they can refer to.
 */

CREATE TABLE flo.generations (
	group_name text PRIMARY KEY REFERENCES flo.sources ON DELETE CASCADE,
	generation uuid NOT NULL,
	start_lsn pg_lsn NOT NULL,
	epoch bigint NOT NULL DEFAULT 0,
	follows uuid[] NOT NULL DEFAULT '{}',
	given_up pg_lsn,
	resync bool NOT NULL DEFAULT false,
	copy_attempt int NOT NULL DEFAULT 1,
	copied bool NOT NULL DEFAULT false,
	created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE flo.generations IS 'The replication slot of each replicator, from its creation to its loss';
COMMENT ON COLUMN flo.generations.group_name IS 'group';
COMMENT ON COLUMN flo.generations.generation IS 'identity of the slot, written into every message';
COMMENT ON COLUMN flo.generations.start_lsn IS 'consistent point of the slot';
COMMENT ON COLUMN flo.generations.epoch IS 'number of the newest publishing session';
COMMENT ON COLUMN flo.generations.follows IS 'the generations before it, oldest first; each flo.resync() begins another';
COMMENT ON COLUMN flo.generations.given_up IS 'start of the range of LSNs that flo.resync() gave up; start_lsn is its end';
COMMENT ON COLUMN flo.generations.resync IS 'flo.resync() was called, the replicator has not begun anew yet';
COMMENT ON COLUMN flo.generations.copy_attempt IS 'number of the newest snapshot from which tables are or were copied';
COMMENT ON COLUMN flo.generations.copied IS 'the copy that the generation began with is over: all workers known then have it';
COMMENT ON COLUMN flo.generations.created_at IS 'when the slot was created';

CREATE TABLE flo.full_identities (
	group_name text NOT NULL REFERENCES flo.sources ON DELETE CASCADE,
	relation oid NOT NULL,
	before "char" NOT NULL,
	PRIMARY KEY (group_name, relation)
);
COMMENT ON TABLE flo.full_identities IS 'Tables that were given REPLICA IDENTITY FULL by keyless_tables = full; undone when the group is dropped';
COMMENT ON COLUMN flo.full_identities.group_name IS 'group';
COMMENT ON COLUMN flo.full_identities.relation IS 'OID of the table';
COMMENT ON COLUMN flo.full_identities.before IS 'pg_class.relreplident as it was before';

CREATE TABLE flo.astray (
	group_name text NOT NULL REFERENCES flo.sources ON DELETE CASCADE,
	relation oid NOT NULL,
	since timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (group_name, relation)
);
COMMENT ON TABLE flo.astray IS 'Tables of groups that are left out until their replica identity is mended: changes of them do not say which row they are of';
COMMENT ON COLUMN flo.astray.group_name IS 'group';
COMMENT ON COLUMN flo.astray.relation IS 'OID of the table';
COMMENT ON COLUMN flo.astray.since IS 'when that began';

CREATE TABLE flo.progress (
	group_name text NOT NULL,
	worker_name text NOT NULL,
	system_identifier bigint NOT NULL,
	generation uuid NOT NULL,
	generation_start pg_lsn NOT NULL,
	start_lsn pg_lsn NOT NULL,
	lsn pg_lsn,
	skip_lsn pg_lsn,
	sink_state jsonb,
	copying bool NOT NULL DEFAULT false,
	copy_attempt int NOT NULL DEFAULT 0,
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (group_name, worker_name),
	FOREIGN KEY (group_name, worker_name) REFERENCES flo.workers ON DELETE CASCADE
);
COMMENT ON TABLE flo.progress IS 'Which source each worker follows, and how far it is unless a replication origin says so';
COMMENT ON COLUMN flo.progress.group_name IS 'group';
COMMENT ON COLUMN flo.progress.worker_name IS 'worker';
COMMENT ON COLUMN flo.progress.system_identifier IS 'system identifier of the source';
COMMENT ON COLUMN flo.progress.generation IS 'generation of the source''s slot';
COMMENT ON COLUMN flo.progress.generation_start IS 'start of that generation';
COMMENT ON COLUMN flo.progress.start_lsn IS 'where the worker began; nothing at or below it is its business';
COMMENT ON COLUMN flo.progress.lsn IS 'durable position of a sink that has no replication origin';
COMMENT ON COLUMN flo.progress.skip_lsn IS 'commit LSN of a transaction that flo.skip() told the worker to skip';
COMMENT ON COLUMN flo.progress.sink_state IS 'what such a sink has to know after a restart';
COMMENT ON COLUMN flo.progress.copying IS 'whether the copy of the tables is not in yet';
COMMENT ON COLUMN flo.progress.copy_attempt IS 'newest snapshot from which tables were copied later than the rest';
COMMENT ON COLUMN flo.progress.updated_at IS 'when the row was written';

CREATE TABLE flo.shaped_tables (
	group_name text NOT NULL REFERENCES flo.groups ON DELETE CASCADE,
	worker_name text NOT NULL,
	source text NOT NULL,
	relation oid NOT NULL,
	schema_name text NOT NULL,
	table_name text NOT NULL,
	columns text[] NOT NULL,
	newest_rule bigint NOT NULL,
	newest_route bigint NOT NULL,
	keys text[] NOT NULL,
	types text[] NOT NULL DEFAULT '{}',
	PRIMARY KEY (group_name, worker_name, source, relation)
);
COMMENT ON TABLE flo.shaped_tables IS 'Source tables to which rules or routes have been applied, so that a renamed one is noticed';
COMMENT ON COLUMN flo.shaped_tables.group_name IS 'group';
COMMENT ON COLUMN flo.shaped_tables.worker_name IS 'worker, or replicator';
COMMENT ON COLUMN flo.shaped_tables.source IS 'generation of the source, where it matters';
COMMENT ON COLUMN flo.shaped_tables.relation IS 'OID of the table at the source';
COMMENT ON COLUMN flo.shaped_tables.schema_name IS 'its schema when last seen';
COMMENT ON COLUMN flo.shaped_tables.table_name IS 'its name when last seen';
COMMENT ON COLUMN flo.shaped_tables.columns IS 'its columns when last seen';
COMMENT ON COLUMN flo.shaped_tables.keys IS 'columns of its replica identity when last seen';
COMMENT ON COLUMN flo.shaped_tables.types IS 'types of its columns when last seen: OIDs of those that every server has, else names';
COMMENT ON COLUMN flo.shaped_tables.newest_rule IS 'highest id of the rules then in force';
COMMENT ON COLUMN flo.shaped_tables.newest_route IS 'highest id of the routes then in force';

CREATE TABLE flo.copy_requests (
	group_name text NOT NULL REFERENCES flo.sources ON DELETE CASCADE,
	relation oid NOT NULL,
	add bool NOT NULL,
	requested_at timestamptz NOT NULL DEFAULT now(),
	number int GENERATED ALWAYS AS IDENTITY,
	PRIMARY KEY (group_name, relation)
);
COMMENT ON TABLE flo.copy_requests IS 'Tables of running groups that are to be copied, or copied afresh';
COMMENT ON COLUMN flo.copy_requests.group_name IS 'group';
COMMENT ON COLUMN flo.copy_requests.relation IS 'OID of the table';
COMMENT ON COLUMN flo.copy_requests.add IS 'whether it joins the group with the copy';
COMMENT ON COLUMN flo.copy_requests.requested_at IS 'when';
COMMENT ON COLUMN flo.copy_requests.number IS 'rises with each request';

CREATE TABLE flo.copied_tables (
	group_name text NOT NULL REFERENCES flo.groups ON DELETE CASCADE,
	worker_name text NOT NULL,
	relation oid NOT NULL,
	schema_name text NOT NULL,
	table_name text NOT NULL,
	attempt int NOT NULL,
	expected int,
	lsn pg_lsn,
	chunks bigint,
	tuples bigint,
	tuples_done bigint,
	bytes bigint,
	bytes_done bigint,
	started_at timestamptz NOT NULL DEFAULT now(),
	finished_at timestamptz,
	PRIMARY KEY (group_name, worker_name, relation)
);
COMMENT ON TABLE flo.copied_tables IS 'Tables being copied, or copied last, from this database (worker replicator) or to it; use the view flo.copy_progress';
COMMENT ON COLUMN flo.copied_tables.group_name IS 'group';
COMMENT ON COLUMN flo.copied_tables.worker_name IS 'worker';
COMMENT ON COLUMN flo.copied_tables.relation IS 'OID of the table at the source';
COMMENT ON COLUMN flo.copied_tables.schema_name IS 'schema of the table at the source';
COMMENT ON COLUMN flo.copied_tables.table_name IS 'name of the table at the source';
COMMENT ON COLUMN flo.copied_tables.attempt IS 'number of the snapshot its rows are from; below 1: of none yet';
COMMENT ON COLUMN flo.copied_tables.expected IS 'snapshot that is still to come in the stream, whose changes of the table are left out until then';
COMMENT ON COLUMN flo.copied_tables.lsn IS 'LSN of that snapshot: streamed changes of the table committed before it are in the copy';
COMMENT ON COLUMN flo.copied_tables.chunks IS 'chunks the source has published; NULL while it reads the table';
COMMENT ON COLUMN flo.copied_tables.tuples IS 'rows the source has published';
COMMENT ON COLUMN flo.copied_tables.tuples_done IS 'source: rows read so far';
COMMENT ON COLUMN flo.copied_tables.bytes IS 'size of the table at the source, with TOAST, without indexes';
COMMENT ON COLUMN flo.copied_tables.bytes_done IS 'source: bytes read so far';
COMMENT ON COLUMN flo.copied_tables.started_at IS 'when this attempt began';
COMMENT ON COLUMN flo.copied_tables.finished_at IS 'when all of it was read, or in';

CREATE TABLE flo.copies (
	group_name text NOT NULL REFERENCES flo.groups ON DELETE CASCADE,
	worker_name text NOT NULL,
	generation uuid NOT NULL,
	phase text NOT NULL,
	keys_checked int NOT NULL DEFAULT 0,
	keys_to_check int NOT NULL DEFAULT 0,
	started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	rows_since timestamptz,
	rows_until timestamptz,
	finished_at timestamptz,
	PRIMARY KEY (group_name, worker_name)
);
COMMENT ON TABLE flo.copies IS 'The copy that each member has at hand, or had last; use flo.copy_summary()';
COMMENT ON COLUMN flo.copies.group_name IS 'group';
COMMENT ON COLUMN flo.copies.worker_name IS 'worker, or replicator';
COMMENT ON COLUMN flo.copies.generation IS 'generation of the source''s slot';
COMMENT ON COLUMN flo.copies.phase IS 'what is being done, see flo.copy_summary()';
COMMENT ON COLUMN flo.copies.keys_checked IS 'foreign keys that existed before the copy and are checked';
COMMENT ON COLUMN flo.copies.keys_to_check IS 'foreign keys that existed before the copy and have to be checked after it';
COMMENT ON COLUMN flo.copies.started_at IS 'when the copy began, at its first attempt';
COMMENT ON COLUMN flo.copies.rows_since IS 'when the first row was read, or could be loaded';
COMMENT ON COLUMN flo.copies.rows_until IS 'when the last one was';
COMMENT ON COLUMN flo.copies.finished_at IS 'when all was done; NULL before';

CREATE TABLE flo.planned_tables (
	group_name text NOT NULL REFERENCES flo.groups ON DELETE CASCADE,
	worker_name text NOT NULL,
	relation oid NOT NULL,
	schema_name text NOT NULL,
	table_name text NOT NULL,
	attempt int NOT NULL,
	tuples bigint,
	bytes bigint NOT NULL,
	bytes_done bigint NOT NULL DEFAULT 0,
	PRIMARY KEY (group_name, worker_name, relation)
);
COMMENT ON TABLE flo.planned_tables IS 'The tables of the copy in flo.copies, as the source planned it before the first row; use the view flo.copy_progress';
COMMENT ON COLUMN flo.planned_tables.group_name IS 'group';
COMMENT ON COLUMN flo.planned_tables.worker_name IS 'worker, or replicator';
COMMENT ON COLUMN flo.planned_tables.relation IS 'OID of the table at the source';
COMMENT ON COLUMN flo.planned_tables.schema_name IS 'schema of the table at the source';
COMMENT ON COLUMN flo.planned_tables.table_name IS 'name of the table at the source';
COMMENT ON COLUMN flo.planned_tables.attempt IS 'number of the snapshot';
COMMENT ON COLUMN flo.planned_tables.tuples IS 'rows, as the source estimates, and exactly when it has read the table';
COMMENT ON COLUMN flo.planned_tables.bytes IS 'size at the source, with TOAST, without indexes';
COMMENT ON COLUMN flo.planned_tables.bytes_done IS 'destination: about so much of it is in; never goes back';

CREATE TABLE flo.copied_chunks (
	group_name text NOT NULL,
	worker_name text NOT NULL,
	relation oid NOT NULL,
	attempt int NOT NULL,
	range int NOT NULL,
	ordinal int NOT NULL,
	tuples int NOT NULL,
	PRIMARY KEY (group_name, worker_name, relation, attempt, range, ordinal),
	FOREIGN KEY (group_name, worker_name) REFERENCES flo.workers ON DELETE CASCADE
);
COMMENT ON TABLE flo.copied_chunks IS 'Chunks of tables being copied that have been loaded; written in the transactions that load them';
COMMENT ON COLUMN flo.copied_chunks.group_name IS 'group';
COMMENT ON COLUMN flo.copied_chunks.worker_name IS 'worker';
COMMENT ON COLUMN flo.copied_chunks.relation IS 'OID of the table at the source';
COMMENT ON COLUMN flo.copied_chunks.attempt IS 'number of the snapshot';
COMMENT ON COLUMN flo.copied_chunks.range IS 'range of pages of the table';
COMMENT ON COLUMN flo.copied_chunks.ordinal IS 'chunk of the range';
COMMENT ON COLUMN flo.copied_chunks.tuples IS 'rows in it';

CREATE TABLE flo.owed_copies (
	group_name text NOT NULL,
	worker_name text NOT NULL,
	relation oid NOT NULL,
	request int NOT NULL,
	since pg_lsn NOT NULL,
	since_at timestamptz NOT NULL,
	PRIMARY KEY (group_name, worker_name, relation),
	FOREIGN KEY (group_name, worker_name) REFERENCES flo.workers ON DELETE CASCADE
);
COMMENT ON TABLE flo.owed_copies IS 'Copies that were asked for at the source and are not in: until then a worker does not have everything beyond since, however far it has read; see wait_for()';
COMMENT ON COLUMN flo.owed_copies.group_name IS 'group';
COMMENT ON COLUMN flo.owed_copies.worker_name IS 'worker';
COMMENT ON COLUMN flo.owed_copies.relation IS 'OID of the table at the source; 0 = whatever was asked for before the generation began, until its first message is read';
COMMENT ON COLUMN flo.owed_copies.request IS 'number of the newest request for the table in flo.copy_requests there';
COMMENT ON COLUMN flo.owed_copies.since IS 'LSN up to which nothing is missing';
COMMENT ON COLUMN flo.owed_copies.since_at IS 'when it was asked for';

CREATE TABLE flo.comparisons (
	id bigint NOT NULL,
	group_name text NOT NULL REFERENCES flo.groups ON DELETE CASCADE,
	worker_name text NOT NULL,
	table_name text NOT NULL,
	lsn pg_lsn,
	state text NOT NULL,
	started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	finished_at timestamptz,
	rows_source bigint,
	rows_destination bigint,
	missing bigint,
	extra bigint,
	different bigint,
	detail text,
	relation oid NOT NULL,
	rows_estimated bigint,
	rows_read bigint,
	side text NOT NULL CHECK (side IN ('source', 'destination')),
	read_since timestamptz,
	PRIMARY KEY (group_name, side, id, worker_name, relation)
);
COMMENT ON TABLE flo.comparisons IS 'Tables that flo.compare() compares, or has compared: at the source those of all workers, at a destination its own';
COMMENT ON COLUMN flo.comparisons.id IS 'what flo.compare() has returned at the source';
COMMENT ON COLUMN flo.comparisons.group_name IS 'group';
COMMENT ON COLUMN flo.comparisons.worker_name IS 'worker; empty as long as it is not known which ones there are';
COMMENT ON COLUMN flo.comparisons.table_name IS 'table at the source, quoted and qualified';
COMMENT ON COLUMN flo.comparisons.lsn IS 'both sides are compared as they were when all that committed before this LSN of the source, and nothing else, was in';
COMMENT ON COLUMN flo.comparisons.state IS 'waiting; snapshot (one is being taken); reading (the source reads the table); comparing (the destination does); equal; different; repairing; repaired (equal after a repair); void (nothing can be said, see detail); missed (the worker was past the snapshot; it is tried again); failed';
COMMENT ON COLUMN flo.comparisons.started_at IS 'when it was asked for, by the clock of this server';
COMMENT ON COLUMN flo.comparisons.finished_at IS 'when it was over; NULL before';
COMMENT ON COLUMN flo.comparisons.rows_source IS 'rows at the source, without those that its rules or filters leave out';
COMMENT ON COLUMN flo.comparisons.rows_destination IS 'rows at the destination';
COMMENT ON COLUMN flo.comparisons.missing IS 'rows that the destination lacks';
COMMENT ON COLUMN flo.comparisons.extra IS 'rows that it has and should not have';
COMMENT ON COLUMN flo.comparisons.different IS 'rows whose key is the same and whose other values are not';
COMMENT ON COLUMN flo.comparisons.detail IS 'what it is doing, or why it ended so';
COMMENT ON COLUMN flo.comparisons.relation IS 'OID of the table at the source';
COMMENT ON COLUMN flo.comparisons.rows_estimated IS 'rows of the table, as the source estimates; those that are to be read';
COMMENT ON COLUMN flo.comparisons.rows_read IS 'rows that this side has read, in this round';
COMMENT ON COLUMN flo.comparisons.side IS 'source or destination: whose word this row is';
COMMENT ON COLUMN flo.comparisons.read_since IS 'when this side began to read its tables, in this round';

CREATE VIEW flo.compare_progress AS
	SELECT c.group_name,
		   c.id,
		   c.worker_name,
		   c.side,
		   c.tables_done,
		   c.tables_total,
		   c.tuples_processed,
		   c.tuples_total,
		   p.percent,
		   CASE WHEN c.tables_done < c.tables_total AND p.percent > 0
				THEN pg_catalog.date_trunc('second', (pg_catalog.clock_timestamp() - c.read_since) * ((100 - p.percent) / p.percent)::double precision)
		   END AS eta
	  FROM (SELECT group_name, id, worker_name, side,
				   pg_catalog.count(finished_at) AS tables_done,
				   pg_catalog.count(*) AS tables_total,
				   coalesce(pg_catalog.sum(rows_read), 0)::bigint AS tuples_processed,
				   coalesce(pg_catalog.sum(greatest(rows_read, CASE WHEN finished_at IS NULL THEN rows_estimated END)), 0)::bigint AS tuples_total,
				   pg_catalog.min(read_since) AS read_since
			  FROM flo.comparisons
			 GROUP BY 1, 2, 3, 4) c,
		   LATERAL (SELECT CASE WHEN c.tables_done = c.tables_total THEN 100.0
								ELSE least(coalesce(trunc(100.0 * c.tuples_processed / nullif(c.tuples_total, 0), 1), 0.0), 99.9)
						   END AS percent) p;
COMMENT ON VIEW flo.compare_progress IS 'One row for each comparison and worker: how much of it this side has read, in this round, and the time that is left for that at the pace so far; flo.comparisons has each table';
COMMENT ON COLUMN flo.compare_progress.group_name IS 'group';
COMMENT ON COLUMN flo.compare_progress.id IS 'as in flo.comparisons';
COMMENT ON COLUMN flo.compare_progress.worker_name IS 'worker; empty as long as it is not known which ones there are';
COMMENT ON COLUMN flo.compare_progress.side IS 'source or destination: who reads, and has written this down';
COMMENT ON COLUMN flo.compare_progress.tables_done IS 'tables of which all is said';
COMMENT ON COLUMN flo.compare_progress.tables_total IS 'of so many';
COMMENT ON COLUMN flo.compare_progress.tuples_processed IS 'rows that this side has read';
COMMENT ON COLUMN flo.compare_progress.tuples_total IS 'of so many: as the source estimates, exact where they are read';
COMMENT ON COLUMN flo.compare_progress.percent IS 'of the rows; 100 only when all tables are done';
COMMENT ON COLUMN flo.compare_progress.eta IS 'time left to read them, at the pace so far';

CREATE TABLE flo.comparison_samples (
	id bigint NOT NULL,
	group_name text NOT NULL,
	worker_name text NOT NULL,
	table_name text NOT NULL,
	ordinal int NOT NULL,
	kind text NOT NULL,
	key jsonb NOT NULL,
	source_row jsonb,
	destination_row jsonb,
	relation oid NOT NULL,
	side text NOT NULL,
	PRIMARY KEY (group_name, side, id, worker_name, relation, ordinal),
	FOREIGN KEY (group_name, side, id, worker_name, relation) REFERENCES flo.comparisons ON DELETE CASCADE
);
COMMENT ON TABLE flo.comparison_samples IS 'Rows that flo.compare() has found to differ, the first of each table; shown to members of the owner';
COMMENT ON COLUMN flo.comparison_samples.id IS 'as in flo.comparisons';
COMMENT ON COLUMN flo.comparison_samples.group_name IS 'group';
COMMENT ON COLUMN flo.comparison_samples.worker_name IS 'worker';
COMMENT ON COLUMN flo.comparison_samples.table_name IS 'table at the source, quoted and qualified';
COMMENT ON COLUMN flo.comparison_samples.ordinal IS 'number of the sample, from 1';
COMMENT ON COLUMN flo.comparison_samples.kind IS 'missing, extra or different';
COMMENT ON COLUMN flo.comparison_samples.key IS 'columns of the key and their values as text; of a table without one, of all columns';
COMMENT ON COLUMN flo.comparison_samples.source_row IS 'the row as it should be at the destination, its values as text; NULL when there is none';
COMMENT ON COLUMN flo.comparison_samples.destination_row IS 'the row at the destination; NULL when there is none';
COMMENT ON COLUMN flo.comparison_samples.relation IS 'OID of the table at the source';
COMMENT ON COLUMN flo.comparison_samples.side IS 'as in flo.comparisons';

CREATE TABLE flo.compare_requests (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	group_name text NOT NULL REFERENCES flo.sources ON DELETE CASCADE,
	worker_name text,
	repair bool NOT NULL,
	repair_extra bool NOT NULL,
	samples int NOT NULL,
	begun bool NOT NULL DEFAULT false
);
COMMENT ON TABLE flo.compare_requests IS 'Calls of flo.compare() that are not over; use flo.comparisons';
COMMENT ON COLUMN flo.compare_requests.id IS 'number of the comparison';
COMMENT ON COLUMN flo.compare_requests.group_name IS 'group';
COMMENT ON COLUMN flo.compare_requests.worker_name IS 'the worker that it is with; NULL = all';
COMMENT ON COLUMN flo.compare_requests.repair IS 'whether rows that differ are written again';
COMMENT ON COLUMN flo.compare_requests.repair_extra IS 'whether extra rows are removed, too';
COMMENT ON COLUMN flo.compare_requests.samples IS 'rows of a table that are shown at most';
COMMENT ON COLUMN flo.compare_requests.begun IS 'whether a process has begun with it: when that ends, the comparison has failed';

CREATE TABLE flo.backfills (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	group_name text NOT NULL REFERENCES flo.sources ON DELETE CASCADE,
	worker_name text NOT NULL,
	table_name text NOT NULL,
	condition text,
	state text NOT NULL DEFAULT 'waiting',
	lsn pg_lsn,
	rows_sent bigint,
	detail text,
	requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	finished_at timestamptz,
	consumer text NOT NULL,
	relation oid NOT NULL,
	attempt int NOT NULL DEFAULT 0,
	chunks bigint NOT NULL DEFAULT 0,
	bytes bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE flo.backfills IS 'Backfills that were asked for with flo.backfill() at this source, the newest 100 that are over included; one of a group at a time, in the order of their numbers';
COMMENT ON COLUMN flo.backfills.id IS 'what flo.backfill() has returned';
COMMENT ON COLUMN flo.backfills.group_name IS 'group';
COMMENT ON COLUMN flo.backfills.worker_name IS 'worker that gets the rows';
COMMENT ON COLUMN flo.backfills.table_name IS 'table, quoted and qualified';
COMMENT ON COLUMN flo.backfills.condition IS 'rows that match; NULL = all';
COMMENT ON COLUMN flo.backfills.state IS 'waiting; snapshot (one is being taken); reading; published (all rows are at the broker, the worker takes them); done; failed';
COMMENT ON COLUMN flo.backfills.lsn IS 'the rows are as they were when all that committed before this LSN, and nothing else, was in';
COMMENT ON COLUMN flo.backfills.rows_sent IS 'rows that match; NULL as long as they are read';
COMMENT ON COLUMN flo.backfills.detail IS 'what it waits for, or why it ended so';
COMMENT ON COLUMN flo.backfills.requested_at IS 'when it was asked for';
COMMENT ON COLUMN flo.backfills.finished_at IS 'when it was over; NULL before';
COMMENT ON COLUMN flo.backfills.consumer IS 'consumer of that worker';
COMMENT ON COLUMN flo.backfills.relation IS 'OID of the table';
COMMENT ON COLUMN flo.backfills.attempt IS 'number of the snapshot, among those of the group''s copies; 0 = none yet';
COMMENT ON COLUMN flo.backfills.chunks IS 'pieces that its rows are in';
COMMENT ON COLUMN flo.backfills.bytes IS 'size of the table, with TOAST, without indexes';
ALTER TABLE flo.backfills ENABLE ROW LEVEL SECURITY;
CREATE POLICY owner ON flo.backfills FOR SELECT USING (
	EXISTS (SELECT FROM flo.sources s WHERE s.group_name = backfills.group_name AND pg_catalog.pg_has_role(s.owner::oid, 'USAGE')));
COMMENT ON POLICY owner ON flo.backfills IS 'backfills are shown to the owner of the replicator: conditions and errors have values in them';

CREATE TABLE flo.due_backfills (
	group_name text NOT NULL,
	worker_name text NOT NULL,
	generation uuid NOT NULL,
	attempt int NOT NULL,
	relation oid NOT NULL,
	over bool NOT NULL,
	left_out text,
	PRIMARY KEY (group_name, worker_name),
	FOREIGN KEY (group_name, worker_name) REFERENCES flo.workers ON DELETE CASCADE
);
COMMENT ON TABLE flo.due_backfills IS 'The newest backfill whose place in the stream each worker has come to';
COMMENT ON COLUMN flo.due_backfills.group_name IS 'group';
COMMENT ON COLUMN flo.due_backfills.worker_name IS 'worker';
COMMENT ON COLUMN flo.due_backfills.generation IS 'generation of the source''s slot';
COMMENT ON COLUMN flo.due_backfills.attempt IS 'number of its snapshot';
COMMENT ON COLUMN flo.due_backfills.relation IS 'OID of the table at the source';
COMMENT ON COLUMN flo.due_backfills.over IS 'whether its rows are in, or will not come; before that the stream does not go on';
COMMENT ON COLUMN flo.due_backfills.left_out IS 'why they are not; NULL = they are';

ALTER TABLE flo.comparison_samples ENABLE ROW LEVEL SECURITY;
CREATE POLICY owner ON flo.comparison_samples FOR SELECT USING (
	CASE side WHEN 'source' THEN EXISTS (SELECT FROM flo.sources s WHERE s.group_name = comparison_samples.group_name AND pg_catalog.pg_has_role(s.owner::oid, 'USAGE'))
	ELSE EXISTS (SELECT FROM flo.workers w WHERE w.group_name = comparison_samples.group_name AND w.worker_name = comparison_samples.worker_name
				 AND pg_catalog.pg_has_role(w.owner::oid, 'USAGE')) END);
COMMENT ON POLICY owner ON flo.comparison_samples IS 'rows are shown to the owner of the replicator, or of the worker';

CREATE TABLE flo.given_up (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	group_name text NOT NULL,
	worker_name text NOT NULL,
	relation oid NOT NULL,
	schema_name text NOT NULL,
	table_name text NOT NULL,
	since pg_lsn,
	given_up_at timestamptz NOT NULL DEFAULT now(),
	given_up_by regrole NOT NULL,
	error text,
	request int NOT NULL,
	passed int NOT NULL DEFAULT 0,
	asked bool NOT NULL DEFAULT false,
	FOREIGN KEY (group_name, worker_name) REFERENCES flo.workers ON DELETE CASCADE
);
COMMENT ON TABLE flo.given_up IS 'Source tables whose rows a worker passes over, see give_up(); shown to the worker''s owner, flo.tables shows everybody which they are';
COMMENT ON COLUMN flo.given_up.id IS 'number of the entry';
COMMENT ON COLUMN flo.given_up.group_name IS 'group';
COMMENT ON COLUMN flo.given_up.worker_name IS 'worker';
COMMENT ON COLUMN flo.given_up.relation IS 'OID of the table at the source; 0: nothing of it has come since, it is the name';
COMMENT ON COLUMN flo.given_up.schema_name IS 'schema of the table at the source';
COMMENT ON COLUMN flo.given_up.table_name IS 'name of the table at the source';
COMMENT ON COLUMN flo.given_up.since IS 'commit LSN of the first transaction of which something was passed over; NULL: none yet';
COMMENT ON COLUMN flo.given_up.given_up_at IS 'when it was given up';
COMMENT ON COLUMN flo.given_up.given_up_by IS 'role that did it; a number once it was dropped, which this does not prevent';
COMMENT ON COLUMN flo.given_up.error IS 'error that the worker had stopped with at the table; NULL: none';
COMMENT ON COLUMN flo.given_up.request IS 'copies of the table asked for up to this number at the source do not take it up again';
COMMENT ON COLUMN flo.given_up.passed IS 'newest snapshot of which rows of the table were passed over';
COMMENT ON COLUMN flo.given_up.asked IS 'a later one is coming';

CREATE TABLE flo.unchecked_tables (
	group_name text NOT NULL,
	worker_name text NOT NULL,
	relation oid NOT NULL,
	PRIMARY KEY (group_name, worker_name, relation),
	FOREIGN KEY (group_name, worker_name) REFERENCES flo.workers ON DELETE CASCADE
);
COMMENT ON TABLE flo.unchecked_tables IS 'Tables here into which a worker with fire_triggers has put rows while copying, and whose foreign keys are still to be checked';
COMMENT ON COLUMN flo.unchecked_tables.group_name IS 'group';
COMMENT ON COLUMN flo.unchecked_tables.worker_name IS 'worker';
COMMENT ON COLUMN flo.unchecked_tables.relation IS 'OID of the table in this database';

CREATE TABLE flo.group_objects (
	object_oid oid NOT NULL,
	class_oid oid NOT NULL,
	group_name text NOT NULL REFERENCES flo.groups ON DELETE CASCADE,
	may text NOT NULL CHECK (may IN ('nothing', 'refer', 'change')),
	PRIMARY KEY (object_oid, class_oid, group_name)
);
COMMENT ON TABLE flo.group_objects IS 'Objects of this database that DDL of the source may change or refer to: what it made here, the tables that were in the group before, what a person has released a statement about, and what flo.adopt() took';
COMMENT ON COLUMN flo.group_objects.object_oid IS 'OID in the catalog of class_oid; parts of the object (indexes, constraints, owned sequences, partitions) go with it';
COMMENT ON COLUMN flo.group_objects.class_oid IS 'OID of the system catalog that it is in, as a regclass';
COMMENT ON COLUMN flo.group_objects.group_name IS 'group';
COMMENT ON COLUMN flo.group_objects.may IS 'what a statement may do: change it; refer to it (foreign keys, numbers for defaults, columns of a row type); or nothing: it only has the name of one of the source''s, and had rows of its own when that one came';

CREATE TABLE flo.copied_objects (
	group_name text NOT NULL,
	worker_name text NOT NULL,
	ordinal int NOT NULL,
	generation uuid NOT NULL,
	attempt int NOT NULL,
	section text NOT NULL CHECK (section IN ('before', 'after')),
	object text NOT NULL,
	part_of int,
	of_table oid,
	address_type text,
	address_names text[],
	address_args text[],
	definition text,
	command text NOT NULL,
	rest bool NOT NULL DEFAULT false,
	optional bool NOT NULL DEFAULT false,
	action text CHECK (action IN ('created', 'kept', 'skipped', 'left out')),
	error text,
	done_at timestamptz,
	PRIMARY KEY (group_name, worker_name, ordinal),
	FOREIGN KEY (group_name, worker_name) REFERENCES flo.workers ON DELETE CASCADE
);
COMMENT ON TABLE flo.copied_objects IS 'Definitions that came with a copy (sync_schema), and what was done with each; shown to the worker''s owner';
COMMENT ON COLUMN flo.copied_objects.group_name IS 'group';
COMMENT ON COLUMN flo.copied_objects.worker_name IS 'worker';
COMMENT ON COLUMN flo.copied_objects.ordinal IS 'order in which they are created';
COMMENT ON COLUMN flo.copied_objects.generation IS 'generation of the source''s slot';
COMMENT ON COLUMN flo.copied_objects.attempt IS 'number of the snapshot that the definition is of';
COMMENT ON COLUMN flo.copied_objects.section IS 'before the rows, or after them';
COMMENT ON COLUMN flo.copied_objects.object IS 'what it is';
COMMENT ON COLUMN flo.copied_objects.part_of IS 'ordinal of the object it belongs to, such as that of a comment; done only when that one was created';
COMMENT ON COLUMN flo.copied_objects.of_table IS 'OID at the source of the table whose index or constraint it is: those of different tables are built at once';
COMMENT ON COLUMN flo.copied_objects.address_type IS 'with names and arguments: how pg_get_object_address() finds it; NULL for what is no object of its own';
COMMENT ON COLUMN flo.copied_objects.address_names IS 'see address_type';
COMMENT ON COLUMN flo.copied_objects.address_args IS 'see address_type';
COMMENT ON COLUMN flo.copied_objects.definition IS 'its definition at the source, to compare with what exists here; empty: whatever exists is kept';
COMMENT ON COLUMN flo.copied_objects.command IS 'SQL that creates it, from pg_dump';
COMMENT ON COLUMN flo.copied_objects.rest IS 'no table needs it: of a group over schemas';
COMMENT ON COLUMN flo.copied_objects.optional IS 'no row needs it, though it belongs to a table: a trigger, a comment, a privilege, ...';
COMMENT ON COLUMN flo.copied_objects.action IS 'created; kept, because it existed with the same definition; skipped (flo.skip_ddl()); left out, because no table needs it and it would bring code of the source''s, or no row needs it and it cannot be made; NULL: not done yet';
COMMENT ON COLUMN flo.copied_objects.error IS 'why it was left out; or not checked: rows violate a foreign key, which is NOT VALID';
COMMENT ON COLUMN flo.copied_objects.done_at IS 'when that was';

CREATE TABLE flo.dead_letters (
	id bigserial PRIMARY KEY,
	group_name text NOT NULL,
	worker_name text NOT NULL,
	url text NOT NULL,
	event_id text NOT NULL,
	lsn pg_lsn,
	event json NOT NULL,
	headers text[],
	error text,
	attempts int NOT NULL DEFAULT 0,
	first_attempt_at timestamptz,
	last_attempt_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT now(),
	redrive_requested_at timestamptz,
	UNIQUE (group_name, worker_name, url, event_id),
	FOREIGN KEY (group_name, worker_name) REFERENCES flo.workers ON DELETE CASCADE
);
COMMENT ON TABLE flo.dead_letters IS 'Events that a worker could not deliver and set aside; shown to the worker''s owner';
COMMENT ON COLUMN flo.dead_letters.id IS 'number of the letter';
COMMENT ON COLUMN flo.dead_letters.group_name IS 'group';
COMMENT ON COLUMN flo.dead_letters.worker_name IS 'worker';
COMMENT ON COLUMN flo.dead_letters.url IS 'endpoint that did not take it';
COMMENT ON COLUMN flo.dead_letters.event_id IS 'Id of the event';
COMMENT ON COLUMN flo.dead_letters.lsn IS 'commit LSN of the transaction';
COMMENT ON COLUMN flo.dead_letters.event IS 'the event, exactly as it was sent';
COMMENT ON COLUMN flo.dead_letters.headers IS 'headers of the event that went with it, "Name: value" each; NULL when it was one of several in a request';
COMMENT ON COLUMN flo.dead_letters.error IS 'last error';
COMMENT ON COLUMN flo.dead_letters.attempts IS 'deliveries tried';
COMMENT ON COLUMN flo.dead_letters.first_attempt_at IS 'when it was tried first';
COMMENT ON COLUMN flo.dead_letters.last_attempt_at IS 'when it was tried last';
COMMENT ON COLUMN flo.dead_letters.created_at IS 'when it was set aside';
COMMENT ON COLUMN flo.dead_letters.redrive_requested_at IS 'when redrive() was called for it; NULL unless the worker is still to try again';

-- they hold rows of the source
ALTER TABLE flo.dead_letters ENABLE ROW LEVEL SECURITY;
CREATE POLICY owner ON flo.dead_letters FOR SELECT USING (
	EXISTS (SELECT FROM flo.workers w WHERE w.group_name = dead_letters.group_name AND w.worker_name = dead_letters.worker_name));
COMMENT ON POLICY owner ON flo.dead_letters IS 'letters are shown to the owner of the worker';

CREATE TABLE flo.pending_ddl (
	id bigserial PRIMARY KEY,
	group_name text NOT NULL,
	worker_name text NOT NULL,
	lsn pg_lsn NOT NULL,
	committed_at timestamptz NOT NULL,
	tag text NOT NULL,
	command text NOT NULL,
	reason text NOT NULL,
	ordinal int NOT NULL,
	decision text CHECK (decision IN ('release', 'skip')),
	created_at timestamptz NOT NULL DEFAULT now(),
	UNIQUE (group_name, worker_name, lsn, ordinal),
	FOREIGN KEY (group_name, worker_name) REFERENCES flo.workers ON DELETE CASCADE
);
COMMENT ON TABLE flo.pending_ddl IS 'DDL, of the stream or of a copy, that a worker holds until a person decides; shown to the worker''s owner';
COMMENT ON COLUMN flo.pending_ddl.id IS 'number of the statement';
COMMENT ON COLUMN flo.pending_ddl.group_name IS 'group';
COMMENT ON COLUMN flo.pending_ddl.worker_name IS 'worker';
COMMENT ON COLUMN flo.pending_ddl.lsn IS 'commit LSN of the transaction; 0/0: a definition that came with a copy (sync_schema)';
COMMENT ON COLUMN flo.pending_ddl.tag IS 'command tag';
COMMENT ON COLUMN flo.pending_ddl.command IS 'text of the statement';
COMMENT ON COLUMN flo.pending_ddl.committed_at IS 'when the source committed it';
COMMENT ON COLUMN flo.pending_ddl.reason IS 'why it is held; "it fails here: ...", with the error: it is not held but tried again and again';
COMMENT ON COLUMN flo.pending_ddl.ordinal IS 'place among the statements of its transaction, or in flo.copied_objects';
COMMENT ON COLUMN flo.pending_ddl.decision IS 'release or skip, until the worker has done it';
COMMENT ON COLUMN flo.pending_ddl.created_at IS 'when it arrived';

CREATE TABLE flo.ddl_log (
	id bigserial PRIMARY KEY,
	group_name text NOT NULL REFERENCES flo.groups ON DELETE CASCADE,
	worker_name text,
	lsn pg_lsn,
	tag text NOT NULL,
	command text NOT NULL,
	outcome text NOT NULL,
	detail text,
	made text[] NOT NULL DEFAULT '{}',
	executed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE flo.ddl_log IS 'What became of the DDL that arrived at this destination; shown to the worker''s owner';
COMMENT ON COLUMN flo.ddl_log.id IS 'number of the entry';
COMMENT ON COLUMN flo.ddl_log.group_name IS 'group';
COMMENT ON COLUMN flo.ddl_log.worker_name IS 'worker';
COMMENT ON COLUMN flo.ddl_log.lsn IS 'commit LSN of the transaction';
COMMENT ON COLUMN flo.ddl_log.tag IS 'command tag';
COMMENT ON COLUMN flo.ddl_log.command IS 'text of the statement as the source ran it';
COMMENT ON COLUMN flo.ddl_log.outcome IS 'applied; present (its effect was there already); absent (what it drops was never brought here); not_here (it is about what was never brought here, or that is not made here); given_up (it failed or would have been held, and is about a table that is given up); skipped (flo.skip_ddl()) or ignored (option ddl, or columns that a route leaves out)';
COMMENT ON COLUMN flo.ddl_log.detail IS 'more about the outcome';
COMMENT ON COLUMN flo.ddl_log.made IS 'names at the source of what it has made here, quoted and qualified; those of constraints with their table''s as well';
COMMENT ON COLUMN flo.ddl_log.executed_at IS 'when';

-- statements hold literals of the source
ALTER TABLE flo.copied_objects ENABLE ROW LEVEL SECURITY;
CREATE POLICY owner ON flo.copied_objects FOR SELECT USING (
	EXISTS (SELECT FROM flo.workers w WHERE w.group_name = copied_objects.group_name AND w.worker_name = copied_objects.worker_name));
ALTER TABLE flo.pending_ddl ENABLE ROW LEVEL SECURITY;
CREATE POLICY owner ON flo.pending_ddl FOR SELECT USING (
	EXISTS (SELECT FROM flo.workers w WHERE w.group_name = pending_ddl.group_name AND w.worker_name = pending_ddl.worker_name));
ALTER TABLE flo.ddl_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE flo.given_up ENABLE ROW LEVEL SECURITY;
CREATE POLICY owner ON flo.given_up FOR SELECT USING (
	EXISTS (SELECT FROM flo.workers w WHERE w.group_name = given_up.group_name AND w.worker_name = given_up.worker_name));
CREATE POLICY owner ON flo.ddl_log FOR SELECT USING (
	EXISTS (SELECT FROM flo.workers w WHERE w.group_name = ddl_log.group_name AND (w.worker_name = ddl_log.worker_name OR ddl_log.worker_name IS NULL)));

CREATE TABLE flo.secrets (
	group_name text NOT NULL REFERENCES flo.groups ON DELETE CASCADE,
	worker_name text NOT NULL,
	key text NOT NULL,
	value text NOT NULL,
	PRIMARY KEY (group_name, worker_name, key)
);
COMMENT ON TABLE flo.secrets IS 'Secrets of workers, and the keys with which replicators'' messages in WAL are signed; readable by nobody but the owner of the extension, never dumped';
COMMENT ON COLUMN flo.secrets.group_name IS 'group';
COMMENT ON COLUMN flo.secrets.worker_name IS 'worker; empty for the replicator';
COMMENT ON COLUMN flo.secrets.key IS 'what it is for';
COMMENT ON COLUMN flo.secrets.value IS 'the secret';

CREATE TABLE flo.event_log (
	number bigint PRIMARY KEY,
	group_name text NOT NULL REFERENCES flo.groups ON DELETE CASCADE,
	member text NOT NULL,
	at timestamptz NOT NULL,
	state text NOT NULL,
	detail text,
	error text,
	sqlstate text,
	hint text,
	lsn pg_lsn
);
CREATE INDEX event_log_at ON flo.event_log (at);
COMMENT ON TABLE flo.event_log IS 'What has happened to members, for pg_flo.events_keep; use the view flo.events, which knows the newest, too';
COMMENT ON COLUMN flo.event_log.number IS 'rises with time';
COMMENT ON COLUMN flo.event_log.group_name IS 'as in flo.events';
COMMENT ON COLUMN flo.event_log.member IS 'as in flo.events';
COMMENT ON COLUMN flo.event_log.at IS 'as in flo.events';
COMMENT ON COLUMN flo.event_log.state IS 'as in flo.events';
COMMENT ON COLUMN flo.event_log.detail IS 'as in flo.events';
COMMENT ON COLUMN flo.event_log.error IS 'as in flo.events';
COMMENT ON COLUMN flo.event_log.sqlstate IS 'as in flo.events';
COMMENT ON COLUMN flo.event_log.hint IS 'as in flo.events';
COMMENT ON COLUMN flo.event_log.lsn IS 'as in flo.events';
