/* sql/pg_flo--0.2.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION pg_flo" to load this file. \quit

-- The schema is made here, so that it belongs to the extension and goes with
-- it.  One that is there already is nobody's but its owner's, who could replace
-- what is created in it.
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'flo') THEN
		RAISE EXCEPTION 'schema "flo" exists already'
			USING ERRCODE = 'duplicate_schema',
				  DETAIL = 'pg_flo makes a schema of this name for itself.',
				  HINT = 'Rename it, or drop it if nothing in it is needed, then create the extension again.';
	END IF;
END
$$;

CREATE SCHEMA flo;
GRANT USAGE ON SCHEMA flo TO PUBLIC;
COMMENT ON SCHEMA flo IS 'pg_flo: groups that stream changes between databases through NATS JetStream';

---------------------------------------------------------------------------
-- Configuration: written by functions only, saved by pg_dump
---------------------------------------------------------------------------

CREATE TABLE flo.groups (
	group_name text PRIMARY KEY CHECK (group_name ~ '^[a-z][a-z0-9_]{0,39}$'),
	system_identifier bigint NOT NULL,
	database oid NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE flo.groups IS 'Groups that have a member in this database';
COMMENT ON COLUMN flo.groups.group_name IS 'name of the group';
COMMENT ON COLUMN flo.groups.system_identifier IS 'cluster in which the configuration is in force; elsewhere (restored, cloned) nothing starts until start_group() is called';
COMMENT ON COLUMN flo.groups.database IS 'OID of the database in which the configuration is in force';
COMMENT ON COLUMN flo.groups.created_at IS 'when the first member was created';

CREATE TABLE flo.sources (
	group_name text PRIMARY KEY REFERENCES flo.groups,
	every_table bool NOT NULL DEFAULT false,
	mode text NOT NULL DEFAULT 'stream' CHECK (mode IN ('stream', 'copy', 'copy_and_stream')),
	copy_workers int NOT NULL DEFAULT 4 CHECK (copy_workers BETWEEN 1 AND 64),
	sync_schema bool NOT NULL DEFAULT false,
	track_ddl bool NOT NULL DEFAULT false,
	owner regrole NOT NULL,
	started bool NOT NULL DEFAULT false,
	options jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(options) = 'object')
);
COMMENT ON TABLE flo.sources IS 'Source sides of groups, without their tables: flo.replicators shows both';
COMMENT ON COLUMN flo.sources.group_name IS 'group';
COMMENT ON COLUMN flo.sources.every_table IS 'whether it is of every table of the database';
COMMENT ON COLUMN flo.sources.mode IS 'stream, copy or copy_and_stream';
COMMENT ON COLUMN flo.sources.copy_workers IS 'processes that copy existing rows';
COMMENT ON COLUMN flo.sources.sync_schema IS 'publish the table definitions ahead of the rows';
COMMENT ON COLUMN flo.sources.track_ddl IS 'publish later DDL in order with the data';
COMMENT ON COLUMN flo.sources.owner IS 'role it belongs to: only those with its rights may change it; a number when the role was dropped. See set_owner()';
COMMENT ON COLUMN flo.sources.started IS 'whether it is to run';
COMMENT ON COLUMN flo.sources.options IS 'options that differ from the default';

CREATE TABLE flo.chosen (
	group_name text NOT NULL REFERENCES flo.sources ON DELETE CASCADE,
	kind text NOT NULL CHECK (kind IN ('table', 'schema', 'except')),
	object oid NOT NULL,
	name text NOT NULL,
	former bool NOT NULL DEFAULT false,
	place int NOT NULL GENERATED ALWAYS AS IDENTITY,
	PRIMARY KEY (group_name, kind, object, name)
);
COMMENT ON TABLE flo.chosen IS
'Tables and schemas that a group was told of: each is the object, whatever it is called; once that is dropped, and in a restored copy, it is the name';
COMMENT ON COLUMN flo.chosen.group_name IS 'group';
COMMENT ON COLUMN flo.chosen.kind IS 'table or schema of the group, or except: a table left out';
COMMENT ON COLUMN flo.chosen.object IS 'OID of the table or schema, in the database where the group is in force';
COMMENT ON COLUMN flo.chosen.name IS 'its name when last seen: of a table quoted and schema-qualified';
COMMENT ON COLUMN flo.chosen.former IS 'not shown: what a table that was left out was called before, which leaves out others, too; or a dropped one whose place another has taken';
COMMENT ON COLUMN flo.chosen.place IS 'order in which they are shown';

CREATE TABLE flo.first_tables (
	group_name text NOT NULL REFERENCES flo.sources ON DELETE CASCADE,
	relation oid NOT NULL,
	name text NOT NULL,
	PRIMARY KEY (group_name, relation)
);
COMMENT ON TABLE flo.first_tables IS 'Tables that were in the group when it was made here, or were added by name: a destination has them under their name without having seen them made';
COMMENT ON COLUMN flo.first_tables.group_name IS 'group';
COMMENT ON COLUMN flo.first_tables.relation IS 'OID of the table';
COMMENT ON COLUMN flo.first_tables.name IS 'its name then, quoted and schema-qualified: under another it is known by the statement that renamed it';

CREATE VIEW flo.chosen_names AS
	SELECT c.group_name, c.kind, c.place,
		   coalesce(CASE WHEN NOT (g.system_identifier = (SELECT s.system_identifier FROM pg_catalog.pg_control_system() s)
								   AND g.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())) THEN NULL
						 WHEN c.kind = 'schema' THEN (SELECT n.nspname::text FROM pg_catalog.pg_namespace n WHERE n.oid = c.object)
						 ELSE (SELECT pg_catalog.format('%I.%I', n.nspname, t.relname)
								 FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
								WHERE t.oid = c.object)
					END, c.name) AS name
	  FROM flo.chosen c JOIN flo.groups g USING (group_name)
	 WHERE NOT c.former;
COMMENT ON VIEW flo.chosen_names IS 'internal: what flo.chosen lists, as it is called now';
COMMENT ON COLUMN flo.chosen_names.group_name IS 'group';
COMMENT ON COLUMN flo.chosen_names.kind IS 'table, schema or except';
COMMENT ON COLUMN flo.chosen_names.place IS 'order';
COMMENT ON COLUMN flo.chosen_names.name IS 'of a table quoted and schema-qualified';

CREATE VIEW flo.replicators AS
	SELECT s.group_name,
		   CASE WHEN NOT s.every_table THEN
				coalesce((SELECT pg_catalog.array_agg(c.name ORDER BY c.place) FROM flo.chosen_names c WHERE c.group_name = s.group_name AND c.kind = 'table'),
						 CASE WHEN NOT EXISTS (SELECT FROM flo.chosen_names c WHERE c.group_name = s.group_name AND c.kind = 'schema') THEN '{}'::text[] END)
		   END AS tables,
		   (SELECT pg_catalog.array_agg(c.name ORDER BY c.place) FROM flo.chosen_names c WHERE c.group_name = s.group_name AND c.kind = 'schema') AS schemas,
		   (SELECT pg_catalog.array_agg(c.name ORDER BY c.place) FROM flo.chosen_names c WHERE c.group_name = s.group_name AND c.kind = 'except') AS except_tables,
		   s.mode, s.copy_workers, s.sync_schema, s.track_ddl, s.owner, s.started, s.options
	  FROM flo.sources s;
COMMENT ON VIEW flo.replicators IS 'Source sides of groups: what is published from this database';
COMMENT ON COLUMN flo.replicators.group_name IS 'group';
COMMENT ON COLUMN flo.replicators.tables IS 'tables named one by one, quoted and schema-qualified, as they are called now';
COMMENT ON COLUMN flo.replicators.schemas IS 'schemas all of whose tables belong to the group, as they are called now; without tables and schemas: every table of the database';
COMMENT ON COLUMN flo.replicators.except_tables IS 'tables left out, quoted and schema-qualified, as they are called now';
COMMENT ON COLUMN flo.replicators.mode IS 'stream, copy or copy_and_stream';
COMMENT ON COLUMN flo.replicators.copy_workers IS 'processes that copy existing rows';
COMMENT ON COLUMN flo.replicators.sync_schema IS 'publish the table definitions ahead of the rows';
COMMENT ON COLUMN flo.replicators.track_ddl IS 'publish later DDL in order with the data';
COMMENT ON COLUMN flo.replicators.owner IS 'role it belongs to: only those with its rights may change it; a number when the role was dropped. See set_owner()';
COMMENT ON COLUMN flo.replicators.started IS 'whether it is to run';
COMMENT ON COLUMN flo.replicators.options IS 'options that differ from the default';

CREATE TABLE flo.workers (
	group_name text NOT NULL REFERENCES flo.groups,
	worker_name text NOT NULL CHECK (worker_name ~ '^[a-z][a-z0-9_]{0,39}$' AND worker_name <> 'replicator'),
	sink text NOT NULL CHECK (sink IN ('postgres', 'file', 'stdout', 'webhook')),
	owner regrole NOT NULL,
	started bool NOT NULL DEFAULT false,
	options jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(options) = 'object'),
	PRIMARY KEY (group_name, worker_name)
);
COMMENT ON TABLE flo.workers IS 'Destination sides of groups in this database; rows are shown to those with the rights of the owner, since the URL of a webhook may be a secret. flo.members shows all, without options';
COMMENT ON COLUMN flo.workers.group_name IS 'group';
COMMENT ON COLUMN flo.workers.worker_name IS 'name of the worker';
COMMENT ON COLUMN flo.workers.sink IS 'where it writes: postgres, file, stdout or webhook';
COMMENT ON COLUMN flo.workers.owner IS 'role it belongs to: only those with its rights may change it; a number when the role was dropped. See set_owner()';
COMMENT ON COLUMN flo.workers.started IS 'whether it is to run';
COMMENT ON COLUMN flo.workers.options IS 'options that differ from the default; never a secret';

CREATE TABLE flo.readers (
	group_name text NOT NULL REFERENCES flo.sources ON DELETE CASCADE,
	reader regrole NOT NULL,
	PRIMARY KEY (group_name, reader)
);
COMMENT ON TABLE flo.readers IS 'Roles that may read the rows of a group of this database beside the owner of its replicator, by workers of their own here among others';
COMMENT ON COLUMN flo.readers.group_name IS 'group';
COMMENT ON COLUMN flo.readers.reader IS 'role, see grant_reader()';

CREATE VIEW flo.members AS
	SELECT r.group_name, 'replicator' AS member, NULL::text AS sink, r.owner, r.started FROM flo.sources r
	UNION ALL
	SELECT w.group_name, w.worker_name, w.sink, w.owner, w.started FROM flo.workers w;
COMMENT ON VIEW flo.members IS 'Replicators and workers of this database, whoever they belong to';
COMMENT ON COLUMN flo.members.group_name IS 'group';
COMMENT ON COLUMN flo.members.member IS 'replicator, or the name of a worker';
COMMENT ON COLUMN flo.members.sink IS 'where a worker writes';
COMMENT ON COLUMN flo.members.owner IS 'role it belongs to';
COMMENT ON COLUMN flo.members.started IS 'whether it is to run';

-- rows are for those with the rights of the owner
ALTER TABLE flo.workers ENABLE ROW LEVEL SECURITY;
CREATE POLICY owner ON flo.workers FOR SELECT USING (pg_catalog.pg_has_role(owner::oid, 'USAGE'));
COMMENT ON POLICY owner ON flo.workers IS 'a worker is shown to its owner; flo.members shows who has one';

---------------------------------------------------------------------------
-- Configuration: edited by INSERT, UPDATE and DELETE, saved by pg_dump
---------------------------------------------------------------------------

CREATE TABLE flo.rules (
	id bigserial PRIMARY KEY,
	group_name text NOT NULL,
	worker_name text,
	stage text NOT NULL DEFAULT 'worker',
	schema_name text NOT NULL DEFAULT 'public',
	table_name text NOT NULL,
	column_name text,
	action text NOT NULL,
	arguments jsonb NOT NULL DEFAULT '{}',
	operations text[] NOT NULL DEFAULT '{INSERT,UPDATE,DELETE}',
	allow_empty_deletes bool NOT NULL DEFAULT true,
	position int NOT NULL DEFAULT 0,
	enabled bool NOT NULL DEFAULT true,
	author regrole NOT NULL
);
COMMENT ON TABLE flo.rules IS 'Transforms and filters; checked when written, in force within a second. Shown to their authors and to owners of the group''s members here; once it has some, written by the latter only';
COMMENT ON COLUMN flo.rules.id IS 'number of the rule; rules of one column act in the order of position, id';
COMMENT ON COLUMN flo.rules.group_name IS 'group; may be created later';
COMMENT ON COLUMN flo.rules.worker_name IS 'worker it holds for; NULL means every worker of the group in this database';
COMMENT ON COLUMN flo.rules.stage IS 'worker (destination side) or replicator (before the data leaves the source)';
COMMENT ON COLUMN flo.rules.schema_name IS 'schema of the table at the source';
COMMENT ON COLUMN flo.rules.table_name IS 'name of the table at the source, as in pg_class';
COMMENT ON COLUMN flo.rules.column_name IS 'name of the column at the source; not needed for the action where';
COMMENT ON COLUMN flo.rules.action IS 'regex, mask, expression, eq, ne, gt, lt, gte, lte, contains or where';
COMMENT ON COLUMN flo.rules.arguments IS 'arguments of the action, a JSON object';
COMMENT ON COLUMN flo.rules.operations IS 'operations it holds for: INSERT, UPDATE, DELETE';
COMMENT ON COLUMN flo.rules.allow_empty_deletes IS 'whether a DELETE passes a filter whose column is not in the replica identity';
COMMENT ON COLUMN flo.rules.position IS 'order among the rules of one column';
COMMENT ON COLUMN flo.rules.enabled IS 'whether it is in force';
COMMENT ON COLUMN flo.rules.author IS 'role with whose rights an expression runs: whoever wrote it last; set by itself';

CREATE TABLE flo.routes (
	id bigserial PRIMARY KEY,
	group_name text NOT NULL,
	worker_name text,
	source_schema text NOT NULL DEFAULT 'public',
	source_table text NOT NULL,
	destination_schema text,
	destination_table text,
	column_mappings jsonb NOT NULL DEFAULT '{}',
	operations text[] NOT NULL DEFAULT '{INSERT,UPDATE,DELETE,TRUNCATE}',
	enabled bool NOT NULL DEFAULT true
);
CREATE UNIQUE INDEX routes_source_key
	ON flo.routes (group_name, source_schema, source_table, coalesce(worker_name, ''))
	WHERE enabled;
COMMENT ON TABLE flo.routes IS 'Where the changes of a table go; checked when written, in force within a second';
COMMENT ON COLUMN flo.routes.id IS 'number of the route';
COMMENT ON COLUMN flo.routes.group_name IS 'group; may be created later';
COMMENT ON COLUMN flo.routes.worker_name IS 'worker it holds for; NULL means every worker of the group in this database';
COMMENT ON COLUMN flo.routes.source_schema IS 'schema of the table at the source';
COMMENT ON COLUMN flo.routes.source_table IS 'name of the table at the source, as in pg_class; * means every table of the schema';
COMMENT ON COLUMN flo.routes.destination_schema IS 'schema at the destination; NULL means the same';
COMMENT ON COLUMN flo.routes.destination_table IS 'table at the destination; NULL means the same';
COMMENT ON COLUMN flo.routes.column_mappings IS 'JSON object: source column to destination column; null leaves the column out';
COMMENT ON COLUMN flo.routes.operations IS 'operations that pass: INSERT, UPDATE, DELETE, TRUNCATE';
COMMENT ON COLUMN flo.routes.enabled IS 'whether it is in force';

CREATE TABLE flo.webhook_subscriptions (
	id bigserial PRIMARY KEY,
	group_name text NOT NULL,
	worker_name text,
	url text NOT NULL,
	schema_name text,
	table_name text,
	operations text[],
	enabled bool NOT NULL DEFAULT true,
	author regrole NOT NULL
);
COMMENT ON TABLE flo.webhook_subscriptions IS 'Endpoints that webhook workers send events to, beside a worker''s own url; checked when written, in force within a second. Shown and written as flo.rules, since a URL may be a secret';
COMMENT ON COLUMN flo.webhook_subscriptions.id IS 'number of the subscription';
COMMENT ON COLUMN flo.webhook_subscriptions.group_name IS 'group; may be created later';
COMMENT ON COLUMN flo.webhook_subscriptions.worker_name IS 'worker it holds for; NULL means every webhook worker of the group in this database';
COMMENT ON COLUMN flo.webhook_subscriptions.url IS 'where the events go; several subscriptions may name the same endpoint, which then gets what any of them asks for, once';
COMMENT ON COLUMN flo.webhook_subscriptions.schema_name IS 'schema of the table at the source; NULL means any';
COMMENT ON COLUMN flo.webhook_subscriptions.table_name IS 'name of the table at the source, as in pg_class; NULL means any';
COMMENT ON COLUMN flo.webhook_subscriptions.operations IS 'operations that are sent: INSERT, UPDATE, DELETE, TRUNCATE, DDL; NULL means all';
COMMENT ON COLUMN flo.webhook_subscriptions.enabled IS 'whether it is in force';
COMMENT ON COLUMN flo.webhook_subscriptions.author IS 'role that wrote it last, which must be able to act as the worker''s owner; set by itself';

-- Whoever has the rights of an owner of one of the group's members here, and
-- whoever wrote the row.  A group without members here is nobody's yet.
CREATE FUNCTION flo.owns_member(group_name text) RETURNS bool
	LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT bool_or(pg_has_role(m.owner::oid, 'USAGE')) FROM flo.members m WHERE m.group_name = owns_member.group_name
$$;
COMMENT ON FUNCTION flo.owns_member(text) IS 'internal: has the current user the rights of an owner of one of the group''s members here? NULL when there are none';

ALTER TABLE flo.rules ENABLE ROW LEVEL SECURITY;
CREATE POLICY shown ON flo.rules FOR SELECT USING (pg_catalog.pg_has_role(author::oid, 'USAGE') OR flo.owns_member(group_name));
CREATE POLICY inserted ON flo.rules FOR INSERT WITH CHECK (coalesce(flo.owns_member(group_name), true));
CREATE POLICY updated ON flo.rules FOR UPDATE
	USING (coalesce(flo.owns_member(group_name), pg_catalog.pg_has_role(author::oid, 'USAGE')))
	WITH CHECK (coalesce(flo.owns_member(group_name), true));
CREATE POLICY deleted ON flo.rules FOR DELETE
	USING (coalesce(flo.owns_member(group_name), pg_catalog.pg_has_role(author::oid, 'USAGE')));

-- routes hold names only
ALTER TABLE flo.routes ENABLE ROW LEVEL SECURITY;
CREATE POLICY shown ON flo.routes FOR SELECT USING (true);
CREATE POLICY written ON flo.routes
	USING (coalesce(flo.owns_member(group_name), true)) WITH CHECK (coalesce(flo.owns_member(group_name), true));

ALTER TABLE flo.webhook_subscriptions ENABLE ROW LEVEL SECURITY;
CREATE POLICY shown ON flo.webhook_subscriptions FOR SELECT USING (pg_catalog.pg_has_role(author::oid, 'USAGE') OR flo.owns_member(group_name));
CREATE POLICY inserted ON flo.webhook_subscriptions FOR INSERT WITH CHECK (coalesce(flo.owns_member(group_name), true));
CREATE POLICY updated ON flo.webhook_subscriptions FOR UPDATE
	USING (coalesce(flo.owns_member(group_name), pg_catalog.pg_has_role(author::oid, 'USAGE')))
	WITH CHECK (coalesce(flo.owns_member(group_name), true));
CREATE POLICY deleted ON flo.webhook_subscriptions FOR DELETE
	USING (coalesce(flo.owns_member(group_name), pg_catalog.pg_has_role(author::oid, 'USAGE')));

---------------------------------------------------------------------------
-- Runtime state: written by pg_flo's processes, never saved by pg_dump
---------------------------------------------------------------------------

CREATE TABLE flo.generations (
	group_name text PRIMARY KEY,
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
	group_name text NOT NULL,
	relation oid NOT NULL,
	before "char" NOT NULL,
	PRIMARY KEY (group_name, relation)
);
COMMENT ON TABLE flo.full_identities IS 'Tables that were given REPLICA IDENTITY FULL by keyless_tables = full; undone when the group is dropped';
COMMENT ON COLUMN flo.full_identities.group_name IS 'group';
COMMENT ON COLUMN flo.full_identities.relation IS 'OID of the table';
COMMENT ON COLUMN flo.full_identities.before IS 'pg_class.relreplident as it was before';

CREATE TABLE flo.astray (
	group_name text NOT NULL,
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
	PRIMARY KEY (group_name, worker_name)
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
	group_name text NOT NULL,
	worker_name text NOT NULL,
	source text NOT NULL,
	relation oid NOT NULL,
	schema_name text NOT NULL,
	table_name text NOT NULL,
	columns text[] NOT NULL,
	newest_rule bigint NOT NULL,
	newest_route bigint NOT NULL,
	keys text[] NOT NULL,
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
COMMENT ON COLUMN flo.shaped_tables.newest_rule IS 'highest id of the rules then in force';
COMMENT ON COLUMN flo.shaped_tables.newest_route IS 'highest id of the routes then in force';

CREATE TABLE flo.copy_requests (
	group_name text NOT NULL,
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
	group_name text NOT NULL,
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
COMMENT ON COLUMN flo.copied_tables.tuples_done IS 'source: rows read so far, in finished ranges';
COMMENT ON COLUMN flo.copied_tables.bytes IS 'size of the table''s file at the source';
COMMENT ON COLUMN flo.copied_tables.bytes_done IS 'source: bytes of finished ranges';
COMMENT ON COLUMN flo.copied_tables.started_at IS 'when this attempt began';
COMMENT ON COLUMN flo.copied_tables.finished_at IS 'when all of it was read, or in';

CREATE TABLE flo.copied_chunks (
	group_name text NOT NULL,
	worker_name text NOT NULL,
	relation oid NOT NULL,
	attempt int NOT NULL,
	range int NOT NULL,
	ordinal int NOT NULL,
	tuples int NOT NULL,
	PRIMARY KEY (group_name, worker_name, relation, attempt, range, ordinal)
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
	PRIMARY KEY (group_name, worker_name, relation)
);
COMMENT ON TABLE flo.owed_copies IS 'Copies that were asked for at the source and are not in: until then a worker does not have everything beyond since, however far it has read; see wait_for()';
COMMENT ON COLUMN flo.owed_copies.group_name IS 'group';
COMMENT ON COLUMN flo.owed_copies.worker_name IS 'worker';
COMMENT ON COLUMN flo.owed_copies.relation IS 'OID of the table at the source; 0 = whatever was asked for before the generation began, until its first message is read';
COMMENT ON COLUMN flo.owed_copies.request IS 'number of the newest request for the table in flo.copy_requests there';
COMMENT ON COLUMN flo.owed_copies.since IS 'LSN up to which nothing is missing';
COMMENT ON COLUMN flo.owed_copies.since_at IS 'when it was asked for';

CREATE TABLE flo.given_up (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	group_name text NOT NULL,
	worker_name text NOT NULL,
	relation oid NOT NULL,
	schema_name text NOT NULL,
	table_name text NOT NULL,
	since pg_lsn,
	given_up_at timestamptz NOT NULL DEFAULT now(),
	given_up_by text NOT NULL,
	error text,
	request int NOT NULL,
	passed int NOT NULL DEFAULT 0,
	asked bool NOT NULL DEFAULT false
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
COMMENT ON COLUMN flo.given_up.given_up_by IS 'role that did it';
COMMENT ON COLUMN flo.given_up.error IS 'error that the worker had stopped with at the table; NULL: none';
COMMENT ON COLUMN flo.given_up.request IS 'copies of the table asked for up to this number at the source do not take it up again';
COMMENT ON COLUMN flo.given_up.passed IS 'newest snapshot of which rows of the table were passed over';
COMMENT ON COLUMN flo.given_up.asked IS 'a later one is coming';

CREATE TABLE flo.unchecked_tables (
	group_name text NOT NULL,
	worker_name text NOT NULL,
	relation oid NOT NULL,
	PRIMARY KEY (group_name, worker_name, relation)
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
	action text CHECK (action IN ('created', 'kept', 'skipped', 'left out')),
	done_at timestamptz,
	PRIMARY KEY (group_name, worker_name, ordinal)
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
COMMENT ON COLUMN flo.copied_objects.action IS 'created; kept, because it existed with the same definition; skipped (flo.skip_ddl()); left out, because no table needs it and it would bring code of the source''s or cannot be made (flo.ddl_log says why); NULL: not done yet';
COMMENT ON COLUMN flo.copied_objects.done_at IS 'when that was';

CREATE TABLE flo.dead_letters (
	id bigserial PRIMARY KEY,
	group_name text NOT NULL,
	worker_name text NOT NULL,
	url text NOT NULL,
	event_id text NOT NULL,
	lsn pg_lsn,
	event json NOT NULL,
	error text,
	attempts int NOT NULL DEFAULT 0,
	first_attempt_at timestamptz,
	last_attempt_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT now(),
	redrive_requested_at timestamptz,
	UNIQUE (group_name, worker_name, url, event_id)
);
COMMENT ON TABLE flo.dead_letters IS 'Events that a worker could not deliver and set aside; shown to the worker''s owner';
COMMENT ON COLUMN flo.dead_letters.id IS 'number of the letter';
COMMENT ON COLUMN flo.dead_letters.group_name IS 'group';
COMMENT ON COLUMN flo.dead_letters.worker_name IS 'worker';
COMMENT ON COLUMN flo.dead_letters.url IS 'endpoint that did not take it';
COMMENT ON COLUMN flo.dead_letters.event_id IS 'Id of the event';
COMMENT ON COLUMN flo.dead_letters.lsn IS 'commit LSN of the transaction';
COMMENT ON COLUMN flo.dead_letters.event IS 'the event, exactly as it was sent';
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
	UNIQUE (group_name, worker_name, lsn, ordinal)
);
COMMENT ON TABLE flo.pending_ddl IS 'DDL, of the stream or of a copy, that a worker holds until a person decides; shown to the worker''s owner';
COMMENT ON COLUMN flo.pending_ddl.id IS 'number of the statement';
COMMENT ON COLUMN flo.pending_ddl.group_name IS 'group';
COMMENT ON COLUMN flo.pending_ddl.worker_name IS 'worker';
COMMENT ON COLUMN flo.pending_ddl.lsn IS 'commit LSN of the transaction; 0/0: a definition that came with a copy (sync_schema)';
COMMENT ON COLUMN flo.pending_ddl.tag IS 'command tag';
COMMENT ON COLUMN flo.pending_ddl.command IS 'text of the statement';
COMMENT ON COLUMN flo.pending_ddl.committed_at IS 'when the source committed it';
COMMENT ON COLUMN flo.pending_ddl.reason IS 'why it is held';
COMMENT ON COLUMN flo.pending_ddl.ordinal IS 'place among the statements of its transaction, or in flo.copied_objects';
COMMENT ON COLUMN flo.pending_ddl.decision IS 'release or skip, until the worker has done it';
COMMENT ON COLUMN flo.pending_ddl.created_at IS 'when it arrived';

CREATE TABLE flo.ddl_log (
	id bigserial PRIMARY KEY,
	group_name text NOT NULL,
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
	group_name text NOT NULL,
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

SELECT pg_catalog.pg_extension_config_dump('flo.groups', '');
SELECT pg_catalog.pg_extension_config_dump('flo.sources', '');
SELECT pg_catalog.pg_extension_config_dump('flo.chosen', '');
SELECT pg_catalog.pg_extension_config_dump('flo.chosen_place_seq', '');
SELECT pg_catalog.pg_extension_config_dump('flo.workers', '');
SELECT pg_catalog.pg_extension_config_dump('flo.readers', '');
SELECT pg_catalog.pg_extension_config_dump('flo.rules', '');
SELECT pg_catalog.pg_extension_config_dump('flo.rules_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('flo.routes', '');
SELECT pg_catalog.pg_extension_config_dump('flo.routes_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('flo.webhook_subscriptions', '');
SELECT pg_catalog.pg_extension_config_dump('flo.webhook_subscriptions_id_seq', '');

---------------------------------------------------------------------------
-- Triggers
---------------------------------------------------------------------------

CREATE FUNCTION flo.config_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'flo_config_changed' LANGUAGE C
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.config_changed() IS 'internal: tells the launcher and running members, at commit, that the configuration changed';

CREATE FUNCTION flo.validate_row() RETURNS trigger
	AS 'MODULE_PATHNAME', 'flo_validate_row' LANGUAGE C
	SET search_path = pg_catalog, pg_temp
	-- values of rules mean what they mean to pg_flo's processes
	SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET TimeZone = 'GMT' SET lc_monetary = 'C';
COMMENT ON FUNCTION flo.validate_row() IS 'internal: checks a row of rules, routes or webhook_subscriptions (22023)';

CREATE FUNCTION flo.validate_table() RETURNS trigger
	AS 'MODULE_PATHNAME', 'flo_validate_table' LANGUAGE C
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.validate_table() IS 'internal: checks what rows of rules or routes must not be together (22023, 0A000)';

CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.sources
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.chosen
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.astray
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.workers
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.readers
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.copy_requests
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.given_up
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.groups
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.rules
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.routes
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.webhook_subscriptions
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();

CREATE TRIGGER validate_row BEFORE INSERT OR UPDATE ON flo.rules
	FOR EACH ROW EXECUTE FUNCTION flo.validate_row();
CREATE TRIGGER validate_row BEFORE INSERT OR UPDATE ON flo.routes
	FOR EACH ROW EXECUTE FUNCTION flo.validate_row();
CREATE TRIGGER validate_row BEFORE INSERT OR UPDATE ON flo.webhook_subscriptions
	FOR EACH ROW EXECUTE FUNCTION flo.validate_row();
CREATE TRIGGER validate_table AFTER INSERT OR UPDATE ON flo.rules
	FOR EACH STATEMENT EXECUTE FUNCTION flo.validate_table();
CREATE TRIGGER validate_table AFTER INSERT OR UPDATE ON flo.routes
	FOR EACH STATEMENT EXECUTE FUNCTION flo.validate_table();

-- also for sessions with session_replication_role = replica
ALTER TABLE flo.groups ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.sources ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.chosen ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.astray ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.workers ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.readers ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.given_up ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.rules ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.rules ENABLE ALWAYS TRIGGER validate_row;
ALTER TABLE flo.rules ENABLE ALWAYS TRIGGER validate_table;
ALTER TABLE flo.routes ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.routes ENABLE ALWAYS TRIGGER validate_row;
ALTER TABLE flo.routes ENABLE ALWAYS TRIGGER validate_table;
ALTER TABLE flo.webhook_subscriptions ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.webhook_subscriptions ENABLE ALWAYS TRIGGER validate_row;

CREATE FUNCTION flo.new_tables() RETURNS event_trigger
	AS 'MODULE_PATHNAME', 'flo_new_tables' LANGUAGE C
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.new_tables() IS 'internal: lets new tables join the groups that cover them';

CREATE EVENT TRIGGER pg_flo_new_tables ON ddl_command_end
	WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE SCHEMA', 'ALTER TABLE', 'CREATE INDEX', 'ALTER INDEX')
	EXECUTE FUNCTION flo.new_tables();
COMMENT ON EVENT TRIGGER pg_flo_new_tables IS 'pg_flo: new tables join the groups that cover them';
ALTER EVENT TRIGGER pg_flo_new_tables ENABLE ALWAYS;

CREATE FUNCTION flo.guard_drop() RETURNS event_trigger
	AS 'MODULE_PATHNAME', 'flo_guard_drop' LANGUAGE C
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.guard_drop() IS 'internal: keeps DROP EXTENSION from leaving groups behind, also in a server that has not preloaded pg_flo';

CREATE EVENT TRIGGER pg_flo_guard_drop ON ddl_command_start
	WHEN TAG IN ('DROP EXTENSION', 'DROP SCHEMA', 'DROP OWNED')
	EXECUTE FUNCTION flo.guard_drop();
COMMENT ON EVENT TRIGGER pg_flo_guard_drop IS 'pg_flo: the extension cannot be dropped while groups exist';
ALTER EVENT TRIGGER pg_flo_guard_drop ENABLE ALWAYS;

-- Never does anything: whether it is enabled tells every session whether DDL is tracked here
CREATE EVENT TRIGGER pg_flo_track_ddl ON ddl_command_start
	WHEN TAG IN ('DROP EXTENSION')
	EXECUTE FUNCTION flo.guard_drop();
COMMENT ON EVENT TRIGGER pg_flo_track_ddl IS 'pg_flo: enabled while a group of this database tracks DDL';
ALTER EVENT TRIGGER pg_flo_track_ddl DISABLE;

CREATE FUNCTION flo.make_keys() RETURNS void LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO flo.secrets (group_name, worker_name, key, value)
	SELECT r.group_name, '', 'sign', replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '')
	  FROM flo.sources r JOIN flo.groups g USING (group_name)
	 WHERE g.system_identifier = (SELECT c.system_identifier FROM pg_control_system() c)
	   AND g.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
	   AND NOT EXISTS (SELECT FROM flo.secrets s
						WHERE s.group_name = r.group_name AND s.worker_name = '' AND s.key = 'sign')
		ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION flo.make_keys() IS
'internal: keys for this database''s replicators that have none, with which pg_flo signs its messages in WAL';

CREATE FUNCTION flo.follow_tracking() RETURNS trigger LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- groups that were restored from elsewhere do nothing until somebody adopts them
	wanted bool := EXISTS (SELECT FROM flo.sources r JOIN flo.groups g USING (group_name)
							WHERE r.track_ddl
							  AND g.system_identifier = (SELECT c.system_identifier FROM pg_control_system() c)
							  AND g.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()));
BEGIN
	PERFORM flo.make_keys();
	IF wanted <> (SELECT e.evtenabled <> 'D' FROM pg_event_trigger e WHERE e.evtname = 'pg_flo_track_ddl') THEN
		IF wanted THEN
			ALTER EVENT TRIGGER pg_flo_track_ddl ENABLE ALWAYS;
		ELSE
			ALTER EVENT TRIGGER pg_flo_track_ddl DISABLE;
		END IF;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION flo.follow_tracking() IS 'internal: keeps the event trigger pg_flo_track_ddl in step with flo.replicators, and makes keys for new ones';

CREATE TRIGGER follow_tracking AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.sources
	FOR EACH STATEMENT EXECUTE FUNCTION flo.follow_tracking();
ALTER TABLE flo.sources ENABLE ALWAYS TRIGGER follow_tracking;
CREATE TRIGGER follow_tracking AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.groups
	FOR EACH STATEMENT EXECUTE FUNCTION flo.follow_tracking();
ALTER TABLE flo.groups ENABLE ALWAYS TRIGGER follow_tracking;

---------------------------------------------------------------------------
-- Control functions
---------------------------------------------------------------------------

CREATE FUNCTION flo.create_replicator(
	group_name text,
	tables regclass[] DEFAULT NULL,
	schemas text[] DEFAULT NULL,
	mode text DEFAULT 'stream',
	copy_workers int DEFAULT 4,
	sync_schema bool DEFAULT false,
	track_ddl bool DEFAULT false,
	options jsonb DEFAULT '{}',
	except_tables regclass[] DEFAULT NULL
) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_create_replicator' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.create_replicator(text, regclass[], text[], text, int, bool, bool, jsonb, regclass[]) IS
'Records the source side of a group and creates its publication. tables and schemas add up, neither means every table. Errors: 22023 bad value, 42710 exists, 42501 not the tables'' owner or no REPLICATION, 42809 not a table, 55000 wal_level, preload or replica identity, 53400 no free slot, 55P03 locked by others for 10 s';

CREATE FUNCTION flo.create_worker(
	group_name text,
	sink text DEFAULT 'postgres',
	worker_name text DEFAULT NULL,
	options jsonb DEFAULT '{}'
) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_create_worker' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.create_worker(text, text, text, jsonb) IS
'Records a destination side of a group; worker_name defaults to the sink''s name. Errors: 22023 bad value, 42710 exists, 42501 its replicator is in this database and the caller neither its owner nor a reader, or not allowed what the sink does, 55000 not preloaded';

CREATE FUNCTION flo.alter_replicator(group_name text, options jsonb) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_alter_replicator' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.alter_replicator(text, jsonb) IS
'Merges options into those of the replicator (JSON null: back to the default), in force within a second of the commit. Errors: 42704 unknown group, 22023 bad value';

CREATE FUNCTION flo.alter_worker(group_name text, worker_name text, options jsonb) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_alter_worker' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.alter_worker(text, text, jsonb) IS
'Merges options into those of a worker (JSON null: back to the default), in force within a second of the commit. Errors: 42704 unknown group or worker, 22023 bad value';

CREATE FUNCTION flo.start_group(group_name text, member text DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_start_group' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.start_group(text, text) IS
'Starts one member or all members of the group in this database when the transaction commits; also tries a failed one again at once. Errors: 42704 unknown group or member, 55000 not preloaded, 53400 no free process';

CREATE FUNCTION flo.stop_group(group_name text, member text DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_stop_group' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.stop_group(text, text) IS
'Stops one member or all members of the group in this database when the transaction commits; flo.status says stopped when the process is gone. Errors: 42704 unknown group or member';

CREATE FUNCTION flo.set_owner(group_name text, member text, new_owner regrole) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_set_owner' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.set_owner(text, text, regrole) IS
'Gives a member (replicator, or a worker) to another role, which must be one that could have made it; the replicator''s publications go with it. The way on when an owner was dropped, and before DROP ROLE. Errors: 42704 unknown group, member or role, 42501 not the owner, or not allowed to the new one';

CREATE FUNCTION flo.grant_reader(group_name text, reader regrole) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_grant_reader' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.grant_reader(text, regrole) IS
'Lets a role read the rows of a group whose replicator is in this database: by workers of its own here, peek(), stream_status() and preview(). Errors: 42704 unknown group or role, 42501 not the replicator''s owner';

CREATE FUNCTION flo.revoke_reader(group_name text, reader regrole) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_revoke_reader' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.revoke_reader(text, regrole) IS
'Takes that right back; a worker whose owner has no other right to the group fails within a second. Errors: 42704 unknown group, or no reader of it, 42501 not the replicator''s owner';

CREATE FUNCTION flo.add_table(group_name text, table_name regclass, copy bool DEFAULT true) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_add_table' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.add_table(text, regclass, bool) IS
'Adds a table to the group of this database''s replicator. Errors: 42704 unknown group, 42710 already in it, 42809 not a table, 55000 no usable replica identity, 0A000 copy of existing rows, 55P03 locked by others for 10 s';

CREATE FUNCTION flo.remove_table(group_name text, table_name regclass) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_remove_table' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.remove_table(text, regclass) IS
'Takes a table out of the group of this database''s replicator. Errors: 42704 unknown group or table not in it, 55P03 locked by others for 10 s';

CREATE FUNCTION flo.drop_replicator(group_name text, purge_stream bool DEFAULT false, force bool DEFAULT false) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_drop_replicator' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.drop_replicator(text, bool, bool) IS
'Stops the replicator (waits up to 10 s) and removes slot, publication and rows; purge_stream also stream, copy stream and state bucket, if this database is their owner. Not transactional; can be repeated. With force an unreachable broker is a warning, and purge_stream removes them whosever they are. Errors: 42704 unknown group, 55006 does not stop, or purge_stream and they are another database''s, 55P03 locked by others for 10 s, 08xxx broker';

CREATE FUNCTION flo.drop_worker(group_name text, worker_name text, force bool DEFAULT false) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_drop_worker' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.drop_worker(text, text, bool) IS
'Stops a worker (waits up to 10 s) and removes consumer, registration, origin and rows. Not transactional; can be repeated. With force an unreachable broker is a warning, and so is a registration of another copy of this database, which stays. Errors: 42704 unknown group or worker, 55006 does not stop, or another copy of this database runs it, 08xxx broker';

CREATE FUNCTION flo.drop_group(group_name text, purge_stream bool DEFAULT false, force bool DEFAULT false) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_drop_group' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.drop_group(text, bool, bool) IS
'Drops everything the group has in this database, see drop_replicator and drop_worker. Errors: 42704 unknown group, 55006 does not stop, or of another owner, 55P03 locked by others for 10 s, 08xxx broker';

CREATE FUNCTION flo.skip(group_name text, worker_name text, lsn pg_lsn) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_skip' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.skip(text, text, pg_lsn) IS
'Has a worker skip exactly the transaction whose commit LSN last_error shows, and tries again at once; the rest goes on in order. Written to the log. Errors: 42704 unknown group or worker, 22023 the worker did not fail at that transaction';

CREATE FUNCTION flo.give_up(group_name text, table_name text, worker_name text DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_give_up' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.give_up(text, text, text) IS
'At a destination: has a worker pass over all changes of one table, which it cannot apply, from where it is; the rest of the same transactions is applied. The table, schema.table, is the source''s, a partitioned one as a whole; without a schema it is one of public. flo.tables shows it as given up until flo.resync() at the source, of the table or of all, has copied it anew. The worker is the only one of the group here, or the one that failed at the table, unless named. Written to the log. Errors: 42704 unknown group or worker, 42P01 no such table is known, 42809 a partition, 22023 not the name of a table, or several workers';

CREATE FUNCTION flo.resync(group_name text, table_name regclass DEFAULT NULL, copy bool DEFAULT true) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_resync' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.resync(text, regclass, bool) IS
'The way out of failed, at the source. Without a table: new slot, new generation, the stream is emptied and goes on from now, and every table is copied afresh; with copy => false they are not: the LSN range given up is written to the log and to flo.generations, the rows in between have to be brought over by other means. With a table: copies that table of a running group afresh. Destinations wait for copies at the same point of the stream. Errors: 42704 unknown group or table not in it, 55P03 locked by others for 10 s, 55000 never started, 55006 does not stop';

CREATE FUNCTION flo.drop_consumer(group_name text, consumer text) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_drop_consumer' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.drop_consumer(text, text) IS
'At the source: removes the consumer and the registration of a destination that no longer exists, as shown by stream_status; at a destination those of its own database only. Errors: 42704 unknown group or consumer, 55006 the consumer and the stream are of other databases, 08xxx broker';

CREATE FUNCTION flo.stream_status(
	group_name text,
	OUT stream text,
	OUT messages bigint,
	OUT bytes bigint,
	OUT max_bytes bigint,
	OUT first_lsn pg_lsn,
	OUT last_lsn pg_lsn,
	OUT consumer text,
	OUT worker_name text,
	OUT system_identifier bigint,
	OUT database text,
	OUT pending_bytes bigint,
	OUT acked_lsn pg_lsn,
	OUT last_seen timestamptz
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_stream_status' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.stream_status(text) IS
'The group''s stream and who holds it: one row per registered worker (one without worker when there is none). Errors: 42704 unknown group, 42501 neither owner nor reader of the group nor pg_monitor, 08xxx broker';

CREATE FUNCTION flo.redrive(id bigint) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_redrive' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.redrive(bigint) IS
'Has a dead letter sent again by its worker, once this commits and the worker runs: a letter that is delivered is removed, one that fails again stays. Errors: 42704 no such letter, 42501 not the worker''s owner';

CREATE FUNCTION flo.redrive_group(group_name text) RETURNS bigint
	AS 'MODULE_PATHNAME', 'flo_redrive_group' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.redrive_group(text) IS
'The same for all dead letters of the group in this database, oldest first; returns their number. Errors: 42704 unknown group, 42501 not the workers'' owner';

CREATE FUNCTION flo.peek(
	group_name text,
	max_events int DEFAULT 10,
	OUT seq bigint,
	OUT lsn pg_lsn,
	OUT committed_at timestamptz,
	OUT event jsonb
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_peek' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.peek(text, int) IS
'The newest events in the group''s stream as event sinks write them, oldest first, consuming nothing: number of the message, LSN of the commit record, its time, and the event. Errors: 42704 unknown group, 42501 neither owner nor reader of the group, 22023 max_events not between 1 and 1000, 08xxx broker';

CREATE FUNCTION flo.wait_for(
	group_name text,
	lsn pg_lsn DEFAULT NULL,
	timeout interval DEFAULT '30 s',
	member text DEFAULT NULL
) RETURNS boolean
	AS 'MODULE_PATHNAME', 'flo_wait_for' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.wait_for(text, pg_lsn, interval, text) IS
'Waits until the group has got as far as lsn; false at the timeout. Source: published and acknowledged (lsn NULL: the current LSN). Destination: every row committed below is durable in the sink of one worker, or of all workers here, tables being added or copied afresh included. In a database with both sides and no member named, an lsn of NULL means the replicator and any other lsn all workers. Errors: 42704 unknown group or member, 22004 lsn missing, 22023 negative timeout, 55000 started in this very transaction';

CREATE FUNCTION flo.release_ddl(id bigint) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_release_ddl' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.release_ddl(bigint) IS
'Lets the worker run a statement of flo.pending_ddl as it is, with the rights of the worker''s owner where it cannot with less, once this commits. Errors: 42704 no such statement, 42501 not the worker''s owner';

CREATE FUNCTION flo.skip_ddl(id bigint) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_skip_ddl' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.skip_ddl(bigint) IS
'Lets the worker pass a statement of flo.pending_ddl without running it, once this commits. Errors: 42704 no such statement, 42501 not the worker''s owner';

CREATE FUNCTION flo.table_schema(table_name regclass) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'flo_table_schema' LANGUAGE C STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.table_schema(regclass) IS
'The definition of a table as JSON: columns with attnum, type, nullability, default; unique keys; replica identity';

CREATE FUNCTION flo.reset_stats(group_name text DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_reset_stats' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.reset_stats(text) IS
'Sets the counters of the group (NULL: of every group of this database) in flo.status to zero. Errors: 42704 unknown group';

---------------------------------------------------------------------------
-- Rules and routes
---------------------------------------------------------------------------

CREATE FUNCTION flo.statement_classes() RETURNS TABLE (name text, commands text, fate text, remark text)
	AS 'MODULE_PATHNAME', 'flo_statement_classes' LANGUAGE C IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.statement_classes() IS
'The statements that the server knows, and what becomes of them with track_ddl: carried; held (for a person, with ddl_trust = object); as rows; not replicated. name: node of the parse tree';

-- settings as in pg_flo's processes: values have the same text form there
CREATE FUNCTION flo.preview(
	group_name text,
	table_name text,
	operation text,
	new_row jsonb,
	old_row jsonb DEFAULT NULL,
	schema_name text DEFAULT 'public',
	worker_name text DEFAULT NULL
) RETURNS TABLE (destination_schema text, destination_table text, operation text, new_row jsonb, old_row jsonb)
	AS 'MODULE_PATHNAME', 'flo_preview' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET TimeZone = 'GMT'
	SET extra_float_digits = 3 SET bytea_output = 'hex' SET lc_monetary = 'C';
COMMENT ON FUNCTION flo.preview(text, text, text, jsonb, jsonb, text, text) IS
'What the rules and routes in force make of one change; no row when it is dropped. A column left out of new_row of an UPDATE counts as unchanged and not sent; old_row holds what the replica identity gives. Without worker_name: the only worker, else what holds for every worker. Errors: 22023 bad operation or rows, 42703 unknown column, 42704 unknown group or worker, 42501 neither owner nor reader of the group, and those of the rules';

CREATE FUNCTION flo.import_operations(operations jsonb, missing text[]) RETURNS text[]
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN operations IS NULL OR operations IN ('[]', 'null') THEN missing
				WHEN jsonb_typeof(operations) = 'array'
				THEN (SELECT array_agg(upper(o.value) ORDER BY o.n) FROM jsonb_array_elements_text(operations) WITH ORDINALITY o (value, n))
				ELSE ARRAY[upper(operations #>> '{}')] END
$$;
COMMENT ON FUNCTION flo.import_operations(jsonb, text[]) IS 'internal: a list of operations of an imported file';

CREATE FUNCTION flo.import_rules(group_name text, rules jsonb) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	entry record;
	parameters jsonb;
	kind text;
	name text[];
	count int := 0;
BEGIN
	IF jsonb_typeof(rules) IS DISTINCT FROM 'object'
	   OR coalesce(jsonb_typeof(rules -> 'tables'), 'object') <> 'object'
	   OR coalesce(jsonb_typeof(rules -> 'rules'), 'array') <> 'array'
	   OR NOT rules ?| '{tables,rules}' OR rules - '{tables,rules}'::text[] <> '{}' THEN
		RAISE EXCEPTION 'the rules are not those of a rules.yaml'
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'They are {"tables": {"name": [rule, ...]}} or {"rules": [{"table": "name", ...}]}.';
	END IF;

	FOR entry IN
		SELECT t.key AS table_name, r.value AS rule
		  FROM jsonb_each(coalesce(rules -> 'tables', '{}')) t,
			   jsonb_array_elements(CASE jsonb_typeof(t.value) WHEN 'array' THEN t.value ELSE jsonb_build_array(t.value) END) r
		UNION ALL
		SELECT r.value ->> 'table', CASE jsonb_typeof(r.value) WHEN 'object' THEN r.value - 'table' ELSE r.value END FROM jsonb_array_elements(coalesce(rules -> 'rules', '[]')) r
	LOOP
		IF jsonb_typeof(entry.rule) <> 'object' OR entry.table_name IS NULL
		   OR entry.rule - '{type,column,parameters,operations,allow_empty_deletes}'::text[] <> '{}' THEN
			RAISE EXCEPTION 'invalid rule of table "%": %', coalesce(entry.table_name, ''), entry.rule
				USING ERRCODE = 'invalid_parameter_value',
					  HINT = 'Its keys are: type, column, parameters, operations, allow_empty_deletes; in a list also table.';
		END IF;
		parameters := coalesce(entry.rule -> 'parameters', '{}');
		kind := entry.rule ->> 'type';
		IF kind = 'transform' AND parameters ->> 'type' IN ('mask', 'regex') THEN
			kind := parameters ->> 'type';
		ELSIF kind = 'filter' AND parameters ->> 'operator' IN ('eq', 'ne', 'gt', 'lt', 'gte', 'lte', 'contains') THEN
			kind := parameters ->> 'operator';
		ELSIF kind = 'exclude_column' THEN
			RAISE EXCEPTION 'columns of table "%" are left out by a route', entry.table_name
				USING ERRCODE = 'invalid_parameter_value',
					  HINT = format('Set column_mappings of its row in flo.routes to {%s: null}.', to_json(entry.rule ->> 'column'));
		ELSE
			RAISE EXCEPTION 'unknown rule of table "%": %', entry.table_name, entry.rule
				USING ERRCODE = 'invalid_parameter_value',
					  HINT = 'A transform has parameters.type mask or regex, a filter parameters.operator eq, ne, gt, lt, gte, lte or contains.';
		END IF;

		-- as the other tool does: short values stay as they are, contains takes any value
		name := CASE WHEN entry.table_name LIKE '_%._%' THEN regexp_split_to_array(entry.table_name, '[.]')
					 ELSE ARRAY['public', entry.table_name] END;
		INSERT INTO flo.rules (group_name, schema_name, table_name, column_name, action, arguments, operations, allow_empty_deletes)
		VALUES (import_rules.group_name, name[1], array_to_string(name[2:], '.'), entry.rule ->> 'column', kind,
				parameters - '{type,operator,operations,allow_empty_deletes}'::text[]
				|| CASE kind WHEN 'mask' THEN '{"short": "keep"}'
							 WHEN 'contains' THEN jsonb_build_object('value', parameters ->> 'value') ELSE '{}' END,
				flo.import_operations(coalesce(entry.rule -> 'operations', parameters -> 'operations'), '{INSERT,UPDATE,DELETE}'),
				coalesce((entry.rule ->> 'allow_empty_deletes')::bool, (parameters ->> 'allow_empty_deletes')::bool, false));
		count := count + 1;
	END LOOP;
	RETURN count;
END
$$;
COMMENT ON FUNCTION flo.import_rules(text, jsonb) IS
'Adds the rules of a parsed rules.yaml of the original tool to flo.rules; returns how many. Errors: 22023 not such a file, and those of flo.rules';

CREATE FUNCTION flo.import_routes(group_name text, routes jsonb) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	entry record;
	mappings jsonb;
	source text[];
	destination text[];
	count int := 0;
BEGIN
	IF jsonb_typeof(routes) IS DISTINCT FROM 'object' THEN
		RAISE EXCEPTION 'the routes are not those of a routing.yaml'
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'They are {"table": {"destination_table": "name", "column_mappings": [{"source": "a", "destination": "b"}], "operations": ["INSERT"]}}.';
	END IF;

	FOR entry IN SELECT r.key, r.value AS route FROM jsonb_each(routes) r LOOP
		IF jsonb_typeof(entry.route) = 'object' THEN
			mappings := coalesce(nullif(entry.route -> 'column_mappings', 'null'), '[]');
		END IF;
		IF jsonb_typeof(entry.route) <> 'object' OR jsonb_typeof(mappings) <> 'array'
		   OR entry.route - '{source_table,destination_table,column_mappings,operations}'::text[] <> '{}'
		   OR EXISTS (SELECT FROM jsonb_array_elements(mappings) m
					   WHERE coalesce(jsonb_typeof(m -> 'source'), '') <> 'string'
						  OR coalesce(jsonb_typeof(m -> 'destination'), '') <> 'string') THEN
			RAISE EXCEPTION 'invalid route of table "%": %', entry.key, entry.route
				USING ERRCODE = 'invalid_parameter_value',
					  HINT = 'Its keys are: source_table, destination_table, column_mappings (a list of source and destination), operations.';
		END IF;
		-- the key counts, as it does there
		source := CASE WHEN entry.key LIKE '_%._%' THEN regexp_split_to_array(entry.key, '[.]')
					   ELSE ARRAY['public', entry.key] END;
		destination := CASE WHEN entry.route ->> 'destination_table' LIKE '_%._%'
							THEN regexp_split_to_array(entry.route ->> 'destination_table', '[.]')
							ELSE ARRAY[NULL, entry.route ->> 'destination_table'] END;
		INSERT INTO flo.routes (group_name, source_schema, source_table, destination_schema, destination_table, column_mappings, operations)
		VALUES (import_routes.group_name, source[1], array_to_string(source[2:], '.'), destination[1],
				nullif(array_to_string(destination[2:], '.'), ''),
				coalesce((SELECT jsonb_object_agg(m ->> 'source', m -> 'destination') FROM jsonb_array_elements(mappings) m), '{}'),
				flo.import_operations(entry.route -> 'operations', '{INSERT,UPDATE,DELETE,TRUNCATE}'));
		count := count + 1;
	END LOOP;
	RETURN count;
END
$$;
COMMENT ON FUNCTION flo.import_routes(text, jsonb) IS
'Adds the routes of a parsed routing.yaml of the original tool to flo.routes; returns how many. Errors: 22023 not such a file, and those of flo.routes';

CREATE FUNCTION flo.rule_problem(id bigint) RETURNS text
	AS 'MODULE_PATHNAME', 'flo_rule_problem' LANGUAGE C VOLATILE PARALLEL UNSAFE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.rule_problem(bigint) IS 'internal: why a rule cannot work, as far as can be seen from here; NULL when nothing is known against it';

---------------------------------------------------------------------------
-- Views
---------------------------------------------------------------------------

CREATE FUNCTION flo.member_stats(
	OUT group_name text,
	OUT member text,
	OUT state text,
	OUT detail text,
	OUT pid int,
	OUT received_lsn pg_lsn,
	OUT durable_lsn pg_lsn,
	OUT known_lsn pg_lsn,
	OUT oldest_pending timestamptz,
	OUT transactions bigint,
	OUT inserts bigint,
	OUT updates bigint,
	OUT deletes bigint,
	OUT truncates bigint,
	OUT filtered bigint,
	OUT conflicts bigint,
	OUT fallbacks bigint,
	OUT bytes bigint,
	OUT restarts bigint,
	OUT last_error text,
	OUT last_error_at timestamptz,
	OUT stats_reset timestamptz,
	OUT foreign_messages bigint
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_member_stats' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.member_stats() IS
'What shared memory knows of this database''s members; use the view flo.status. Error texts are shown to the member''s owner and to members of pg_read_all_stats';

CREATE FUNCTION flo.origin_position(group_name text, worker_name text) RETURNS pg_lsn
	AS 'MODULE_PATHNAME', 'flo_origin_position' LANGUAGE C VOLATILE PARALLEL UNSAFE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.origin_position(text, text) IS
'How far the replication origin of a worker of this database is; NULL when it has none';

CREATE FUNCTION flo.is_preloaded() RETURNS bool
	AS 'MODULE_PATHNAME', 'flo_is_preloaded' LANGUAGE C STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.is_preloaded() IS 'Whether pg_flo is in shared_preload_libraries';

CREATE FUNCTION flo.launcher_problem() RETURNS text
	AS 'MODULE_PATHNAME', 'flo_launcher_problem' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.launcher_problem() IS 'Why the launcher cannot start what is wanted; NULL when nothing is wrong';

CREATE VIEW flo.status AS
	SELECT m.group_name,
		   m.member,
		   m.sink,
		   CASE WHEN s.pid IS NOT NULL THEN s.state
				WHEN NOT m.started OR NOT m.here OR NOT m.enabled THEN 'stopped'
				WHEN s.state IN ('starting', 'backoff', 'failed') THEN s.state
				ELSE 'starting'
		   END AS state,
		   CASE WHEN s.pid IS NOT NULL THEN coalesce(s.detail,
						-- a worker that waits for a lock cannot say so itself
						CASE WHEN m.sink IS NOT NULL THEN
							coalesce((SELECT 'lock held by pid ' || pg_catalog.string_agg(b.pid::text, ', ')
										FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(s.pid)) b (pid)),
									 (SELECT 'without tables that are given up: ' || pg_catalog.string_agg(pg_catalog.format('%I.%I', u.schema_name, u.table_name), ', ' ORDER BY u.id)
										FROM flo.given_up u WHERE u.group_name = m.group_name AND u.worker_name = m.member)) END)
				WHEN NOT m.here THEN 'configured in another database; start_group() adopts it'
				WHEN NOT m.started THEN NULL
				WHEN NOT m.enabled THEN 'pg_flo is not in shared_preload_libraries or pg_flo.enabled is off'
				WHEN s.state IN ('starting', 'backoff', 'failed') THEN s.detail
				ELSE coalesce(flo.launcher_problem(), 'waiting for the launcher')
		   END AS detail,
		   s.pid,
		   s.received_lsn,
		   p.durable_lsn,
		   CASE WHEN p.known_lsn > p.durable_lsn THEN (p.known_lsn - p.durable_lsn)::bigint
				WHEN p.known_lsn <= p.durable_lsn THEN 0
		   END AS lag_bytes,
		   CASE WHEN s.pid IS NULL THEN NULL
				WHEN s.oldest_pending IS NULL THEN interval '0'
				ELSE greatest(clock_timestamp() - s.oldest_pending, interval '0')
		   END AS lag,
		   (w.lsn - slot.restart_lsn)::bigint AS retained_wal_bytes,
		   coalesce(s.transactions, 0) AS transactions,
		   coalesce(s.inserts, 0) AS inserts,
		   coalesce(s.updates, 0) AS updates,
		   coalesce(s.deletes, 0) AS deletes,
		   coalesce(s.truncates, 0) AS truncates,
		   coalesce(s.filtered, 0) AS filtered,
		   coalesce(s.conflicts, 0) AS conflicts,
		   coalesce(s.fallbacks, 0) AS fallbacks,
		   coalesce(s.bytes, 0) AS bytes,
		   coalesce(s.restarts, 0) AS restarts,
		   s.last_error,
		   s.last_error_at,
		   s.stats_reset,
		   coalesce(s.foreign_messages, 0) AS foreign_messages
	  FROM (SELECT u.group_name, u.member, u.sink, u.started,
				   g.system_identifier = (SELECT c.system_identifier FROM pg_catalog.pg_control_system() c)
				   AND g.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) AS here,
				   flo.is_preloaded() AND pg_catalog.current_setting('pg_flo.enabled')::bool AS enabled
			  FROM flo.members u
			  JOIN flo.groups g ON g.group_name = u.group_name) m
	  LEFT JOIN flo.member_stats() s ON s.group_name = m.group_name AND s.member = m.member
	  LEFT JOIN pg_catalog.pg_replication_slots slot
			 ON m.sink IS NULL
			AND slot.slot_name = 'pgflo_' || (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
								 || '_' || m.group_name
	  CROSS JOIN LATERAL (
			SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
						ELSE pg_catalog.pg_current_wal_lsn() END AS lsn) w
	  CROSS JOIN LATERAL (
			SELECT coalesce(s.durable_lsn,
							CASE WHEN m.sink IS NULL THEN slot.confirmed_flush_lsn
								 WHEN flo.origin_position(m.group_name, m.member) IS NOT NULL
								 THEN least(flo.origin_position(m.group_name, m.member),
											(SELECT min(o.since) FROM flo.owed_copies o
											  WHERE o.group_name = m.group_name AND o.worker_name = m.member)) END) AS durable_lsn,
				   CASE WHEN m.sink IS NULL THEN w.lsn ELSE s.known_lsn END AS known_lsn) p;
COMMENT ON VIEW flo.status IS 'One row per member of a group in this database; counters since server start or reset, at most a second old';
COMMENT ON COLUMN flo.status.group_name IS 'group';
COMMENT ON COLUMN flo.status.member IS 'replicator, or the name of a worker';
COMMENT ON COLUMN flo.status.sink IS 'where a worker writes';
COMMENT ON COLUMN flo.status.state IS 'stopped, starting, waiting, copying, streaming (also when idle), backoff (an error, retried by itself) or failed (needs a person)';
COMMENT ON COLUMN flo.status.detail IS 'what it waits for, in one sentence; or which tables are given up';
COMMENT ON COLUMN flo.status.pid IS 'process';
COMMENT ON COLUMN flo.status.received_lsn IS 'replicator: decoded up to here; worker: received up to here';
COMMENT ON COLUMN flo.status.durable_lsn IS 'replicator: acknowledged by the broker; worker: everything below is durable in the sink, copies that were asked for included';
COMMENT ON COLUMN flo.status.lag_bytes IS 'bytes of WAL between the newest known LSN and durable_lsn';
COMMENT ON COLUMN flo.status.lag IS 'age of the oldest transaction, or request for a copy, not yet durable, 0 when there is none, NULL when the member does not run';
COMMENT ON COLUMN flo.status.retained_wal_bytes IS 'bytes of WAL kept for the slot';
COMMENT ON COLUMN flo.status.transactions IS 'source transactions, with all that they did: those that the broker has, or that are committed here';
COMMENT ON COLUMN flo.status.inserts IS 'rows inserted';
COMMENT ON COLUMN flo.status.updates IS 'rows updated';
COMMENT ON COLUMN flo.status.deletes IS 'rows deleted';
COMMENT ON COLUMN flo.status.truncates IS 'tables truncated';
COMMENT ON COLUMN flo.status.filtered IS 'changes dropped by rules and routes, and of tables that are given up';
COMMENT ON COLUMN flo.status.conflicts IS 'rows that were there, or missing, against expectation';
COMMENT ON COLUMN flo.status.fallbacks IS 'batches applied row by row';
COMMENT ON COLUMN flo.status.bytes IS 'bytes sent or received';
COMMENT ON COLUMN flo.status.restarts IS 'starts after the first';
COMMENT ON COLUMN flo.status.last_error IS 'newest error';
COMMENT ON COLUMN flo.status.last_error_at IS 'when it happened';
COMMENT ON COLUMN flo.status.stats_reset IS 'since when the counters count';
COMMENT ON COLUMN flo.status.foreign_messages IS 'replicator: logical decoding messages that somebody else wrote in the name of pg_flo, and that were left out';

CREATE FUNCTION flo.left_out_tables(
	group_name text,
	OUT relation regclass,
	OUT reason text
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_left_out_tables' LANGUAGE C VOLATILE PARALLEL UNSAFE STRICT ROWS 10
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.left_out_tables(text) IS
'internal: tables that a group would have, or was told to leave out, and why it does not have them; waits for no lock';

CREATE FUNCTION flo.key_is_sent(index oid) RETURNS bool
	AS 'MODULE_PATHNAME', 'flo_key_is_sent' LANGUAGE C STABLE PARALLEL SAFE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.key_is_sent(oid) IS
'internal: whether the source sends all columns of an index; before version 18 it does not send generated ones';

CREATE VIEW flo.tables AS
	SELECT r.group_name,
		   pg_catalog.format('%I.%I', n.nspname, c.relname) AS table_name,
		   CASE c.relreplident
				WHEN 'd' THEN CASE WHEN k.usable THEN 'primary key' ELSE 'none' END
				WHEN 'i' THEN CASE WHEN k.usable THEN 'index' ELSE 'none' END
				WHEN 'f' THEN 'full'
				ELSE 'none'
		   END AS replica_identity,
		   s.state,
		   CASE WHEN i.only_inserts THEN 'only INSERT is replicated: the table has no replica identity'
				WHEN c.relreplident <> 'f' AND NOT k.usable THEN 'UPDATE and DELETE fail at the source: the table has no replica identity'
				WHEN p.prqual IS NOT NULL AND p.prattrs IS NOT NULL THEN 'the publication has a row filter and a column list'
				WHEN p.prqual IS NOT NULL THEN 'the publication has a row filter'
				WHEN p.prattrs IS NOT NULL THEN 'the publication has a column list'
		   END AS detail
	  FROM flo.sources r
	  JOIN flo.status s ON s.group_name = r.group_name AND s.member = 'replicator'
	  CROSS JOIN LATERAL (VALUES ('pgflo_' || r.group_name, false),
								 ('pgflo_' || r.group_name || '_insert', true)) i (pubname, only_inserts)
	  JOIN pg_catalog.pg_publication b ON b.pubname = i.pubname
	  JOIN pg_catalog.pg_publication_rel p ON p.prpubid = b.oid
	  JOIN pg_catalog.pg_class c ON c.oid = p.prrelid
	  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	  CROSS JOIN LATERAL (
			SELECT EXISTS (SELECT FROM pg_catalog.pg_index x
							WHERE x.indrelid = c.oid AND x.indisvalid AND x.indimmediate
							  AND CASE c.relreplident WHEN 'd' THEN x.indisprimary WHEN 'i' THEN x.indisreplident ELSE false END
							  AND flo.key_is_sent(x.indexrelid)) AS usable) k
	UNION ALL
	SELECT r.group_name, pg_catalog.format('%I.%I', n.nspname, c.relname),
		   CASE c.relreplident WHEN 'f' THEN 'full' ELSE 'none' END,
		   'left out', pg_catalog.string_agg(l.reason, '; ')
	  FROM flo.sources r
	  CROSS JOIN LATERAL flo.left_out_tables(r.group_name) l
	  JOIN pg_catalog.pg_class c ON c.oid = l.relation
	  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	 GROUP BY 1, 2, 3
	UNION ALL
	SELECT u.group_name, pg_catalog.format('%I.%I', u.schema_name, u.table_name), NULL, 'given up',
		   pg_catalog.format('by worker %I, ', u.worker_name)
		   || CASE WHEN u.since IS NULL THEN 'nothing of it has come yet' ELSE 'since the transaction at ' || u.since END
		   || pg_catalog.format('; told by %I at %s', u.given_up_by, pg_catalog.date_trunc('second', u.given_up_at))
		   || CASE WHEN u.asked THEN '; a copy is coming' ELSE '' END
		   || CASE WHEN u.error IS NULL THEN ''
				   WHEN m.owner IS NULL OR NOT (pg_catalog.pg_has_role(m.owner::oid, 'USAGE') OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')) THEN ''
				   ELSE '; error: ' || u.error END
	  FROM flo.given_up u
	  LEFT JOIN flo.members m ON m.group_name = u.group_name AND m.member = u.worker_name
							 AND EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.oid = m.owner);
COMMENT ON VIEW flo.tables IS 'What the groups of this database''s replicators replicate now, and, with state left out, what they would have or were told to leave out; with state given up, source tables that workers of this database pass over';
COMMENT ON COLUMN flo.tables.group_name IS 'group';
COMMENT ON COLUMN flo.tables.table_name IS 'table, quoted and schema-qualified, as the source calls it';
COMMENT ON COLUMN flo.tables.replica_identity IS 'primary key, index, full or none; NULL at a destination';
COMMENT ON COLUMN flo.tables.state IS 'state of the replicator as far as this table is concerned, see flo.status; left out: not replicated, detail says why; given up: see give_up()';
COMMENT ON COLUMN flo.tables.detail IS 'what is special about the table; of one that is given up: by which worker, since which transaction (commit LSN), by whom and when, and, for those who may see the worker''s errors, which one';

CREATE VIEW flo.copy_progress AS
	SELECT t.group_name,
		   t.worker_name AS member,
		   pg_catalog.format('%I.%I', t.schema_name, t.table_name) AS table_name,
		   CASE WHEN t.finished_at IS NOT NULL THEN CASE WHEN d.source THEN 'published' ELSE 'complete' END
				WHEN d.source THEN 'reading'
				ELSE 'loading'
		   END AS phase,
		   d.bytes_processed,
		   t.bytes AS bytes_total,
		   d.tuples_processed,
		   t.tuples AS tuples_total,
		   d.percent,
		   CASE WHEN t.finished_at IS NULL AND d.percent > 0
				THEN pg_catalog.date_trunc('second', (pg_catalog.now() - t.started_at) * ((100 - d.percent) / d.percent)::double precision)
		   END AS eta
	  FROM flo.copied_tables t,
		   LATERAL (SELECT count(*) AS chunks, coalesce(sum(c.tuples), 0)::bigint AS tuples
					  FROM flo.copied_chunks c
					 WHERE c.group_name = t.group_name AND c.worker_name = t.worker_name
					   AND c.relation = t.relation AND c.attempt = t.attempt) c,
		   LATERAL (SELECT t.worker_name = 'replicator' AS source,
						   CASE WHEN t.worker_name = 'replicator' THEN t.bytes_done
								WHEN t.finished_at IS NOT NULL THEN t.bytes
								WHEN t.chunks > 0 THEN (t.bytes * (c.chunks::numeric / t.chunks))::bigint
						   END AS bytes_processed,
						   CASE WHEN t.worker_name = 'replicator' THEN t.tuples_done
								WHEN t.finished_at IS NOT NULL THEN t.tuples
								ELSE c.tuples
						   END AS tuples_processed,
						   CASE WHEN t.finished_at IS NOT NULL THEN 100.0
								WHEN t.worker_name = 'replicator' AND t.bytes > 0 THEN round(100.0 * t.bytes_done / t.bytes, 1)
								WHEN t.chunks > 0 THEN round(100.0 * c.chunks / t.chunks, 1)
						   END AS percent) d
	 WHERE t.table_name <> '';
COMMENT ON VIEW flo.copy_progress IS
'One row per table being copied or copied last: bytes of the table''s file and rows, percent, and the time left at the pace so far. At a destination the totals are known once the source has read the table';
COMMENT ON COLUMN flo.copy_progress.group_name IS 'group';
COMMENT ON COLUMN flo.copy_progress.member IS 'replicator (reading) or a worker (loading)';
COMMENT ON COLUMN flo.copy_progress.table_name IS 'table at the source, quoted and qualified';
COMMENT ON COLUMN flo.copy_progress.phase IS 'reading or published at the source, loading or complete at a destination';
COMMENT ON COLUMN flo.copy_progress.bytes_processed IS 'bytes of the file that are read or in';
COMMENT ON COLUMN flo.copy_progress.bytes_total IS 'size of the file when the copy began';
COMMENT ON COLUMN flo.copy_progress.tuples_processed IS 'rows read or in';
COMMENT ON COLUMN flo.copy_progress.tuples_total IS 'rows in all; known when the source has read the table';
COMMENT ON COLUMN flo.copy_progress.percent IS 'of the bytes at the source, of the chunks at a destination';
COMMENT ON COLUMN flo.copy_progress.eta IS 'time left at the pace so far';

---------------------------------------------------------------------------
-- Preflight
---------------------------------------------------------------------------

CREATE FUNCTION flo.covered_tables(
	group_name text,
	OUT relation regclass,
	OUT has_identity bool,
	OUT published bool
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_covered_tables' LANGUAGE C VOLATILE PARALLEL UNSAFE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.covered_tables(text) IS
'internal: the tables that the choice in flo.replicators covers now, partitions through their root';

CREATE FUNCTION flo.check_broker(group_name text, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_check_broker' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.check_broker(text) IS 'internal: the part of flo.check() that asks NATS; a row of status tracked says of a group whose definitions travel';

CREATE FUNCTION flo.check_server(members int, replicators int, workers int,
								 OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	preloaded bool := flo.is_preloaded();
	own_limit int := CASE WHEN flo.is_preloaded() THEN current_setting('pg_flo.max_workers')::int END;
	processes int := current_setting('max_worker_processes')::int;
	slots int := current_setting('max_replication_slots')::int;
	used_slots int := (SELECT count(*) FROM pg_replication_slots);
	own_slots int;
	-- a setting of its own from version 18 on
	origins int := coalesce(current_setting('max_active_replication_origins', true)::int, slots);
	used_origins int := (SELECT count(*) FROM pg_replication_origin);
	own_origins int;
	others int := (SELECT count(*) FROM pg_stat_activity a
					WHERE a.backend_type IN ('logical replication launcher', 'logical replication worker',
											 'logical replication apply worker', 'logical replication tablesync worker',
											 'logical replication parallel worker', 'parallel worker')
					   OR a.backend_type NOT IN ('client backend', 'autovacuum launcher', 'autovacuum worker',
												 'background writer', 'checkpointer', 'walwriter', 'walsender',
												 'walreceiver', 'walsummarizer', 'startup', 'archiver', 'logger',
												 'io worker', 'slotsync worker', 'standalone backend')
						  AND a.backend_type NOT LIKE 'pg_flo%');
	own_database text := (SELECT d.oid::text FROM pg_database d WHERE d.datname = current_database());
BEGIN
	item := 'shared_preload_libraries';
	hint := NULL;
	IF preloaded THEN
		status := 'ok';
		detail := 'pg_flo is loaded at server start';
	ELSE
		status := 'error';
		detail := 'pg_flo is not loaded at server start';
		hint := 'Add pg_flo to shared_preload_libraries and restart the server.';
	END IF;
	RETURN NEXT;

	item := 'wal_level';
	hint := NULL;
	detail := 'wal_level is ' || current_setting('wal_level');
	IF current_setting('wal_level') = 'logical' THEN
		status := 'ok';
	ELSIF replicators > 0 THEN
		status := 'error';
		hint := 'Set wal_level to logical and restart the server.';
	ELSE
		status := 'ok';
		detail := detail || ', enough for a destination';
	END IF;
	RETURN NEXT;

	item := 'pg_flo.enabled';
	hint := NULL;
	detail := 'pg_flo.enabled is ' || coalesce(current_setting('pg_flo.enabled', true), 'unknown');
	status := 'ok';
	IF current_setting('pg_flo.enabled', true) = 'off' THEN
		status := 'warning';
		hint := 'Nothing runs until it is on.';
	END IF;
	RETURN NEXT;

	own_slots := (SELECT count(*) FROM pg_replication_slots s
				   WHERE s.slot_name IN (SELECT 'pgflo_' || own_database || '_' || r.group_name FROM flo.sources r));
	item := 'replication slots';
	status := 'ok';
	hint := NULL;
	detail := format('%s of %s are in use, pg_flo uses %s and needs %s here', used_slots, slots, own_slots, replicators);
	IF slots - used_slots < replicators - own_slots THEN
		status := 'error';
		hint := 'Free a slot or increase max_replication_slots.';
	END IF;
	RETURN NEXT;

	own_origins := (SELECT count(*) FROM pg_replication_origin o
					 WHERE o.roname IN (SELECT 'pgflo_' || own_database || '_' || m.group_name || '/' || m.member FROM flo.members m));
	item := 'replication origins';
	status := 'ok';
	hint := NULL;
	detail := format('%s of %s are in use, pg_flo uses %s and needs %s here', used_origins, origins, own_origins, workers);
	IF origins - used_origins < workers - own_origins THEN
		status := 'error';
		hint := 'Remove unused origins or increase ' ||
			CASE WHEN current_setting('max_active_replication_origins', true) IS NULL
				 THEN 'max_replication_slots.' ELSE 'max_active_replication_origins.' END;
	END IF;
	RETURN NEXT;

	-- beside the members: the launcher and the process that reads a database's configuration
	item := 'worker processes';
	status := 'ok';
	hint := NULL;
	detail := format('max_worker_processes is %s (%s used by others), pg_flo.max_workers is %s, this database has %s members',
					 processes, others, CASE WHEN preloaded THEN own_limit::text ELSE 'unknown' END, members);
	IF preloaded AND members > own_limit THEN
		status := 'error';
		hint := 'Increase pg_flo.max_workers and restart the server.';
	ELSIF members + others + 2 > processes THEN
		status := 'error';
		hint := 'Increase max_worker_processes and restart the server.';
	END IF;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION flo.check_server(int, int, int) IS 'internal: the part of flo.check() about the server''s settings';

CREATE FUNCTION flo.check_source(group_name text, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	replicator flo.replicators;
	names text;
	keyless text;
	astray text;
	slot pg_replication_slots;
BEGIN
	SELECT r.* INTO replicator FROM flo.replicators r WHERE r.group_name = check_source.group_name;
	IF NOT FOUND THEN
		RETURN;
	END IF;

	-- publication and choice of tables
	item := 'publication of group ' || group_name;
	status := 'ok';
	hint := NULL;
	detail := NULL;
	IF NOT EXISTS (SELECT FROM pg_publication p WHERE p.pubname = 'pgflo_' || group_name) THEN
		status := 'error';
		detail := format('publication %I does not exist', 'pgflo_' || group_name);
		hint := 'Drop the replicator and create it again.';
		RETURN NEXT;
	ELSE
		SELECT string_agg(t.name, ', ' ORDER BY t.name) INTO names
		  FROM unnest(replicator.tables) t (name) WHERE to_regclass(t.name) IS NULL;
		IF names IS NOT NULL THEN
			status := 'warning';
			detail := 'tables that no longer exist: ' || names;
			hint := 'They were dropped; a table that is made under such a name takes the place.';
			RETURN NEXT;
		END IF;

		SELECT string_agg(c.relation::text, ', ' ORDER BY c.relation::text) INTO names
		  FROM flo.covered_tables(group_name) c WHERE NOT c.published AND c.has_identity;
		IF names IS NOT NULL THEN
			status := 'warning';
			detail := 'tables of the group that are not published: ' || names;
			hint := 'Add them with flo.add_table().';
			RETURN NEXT;
		END IF;

		SELECT string_agg(t.table_name, ', ' ORDER BY t.table_name) INTO names
		  FROM flo.tables t
		 WHERE t.group_name = check_source.group_name AND t.state <> 'left out'
		   AND NOT EXISTS (SELECT FROM flo.covered_tables(check_source.group_name) c
							WHERE c.relation = to_regclass(t.table_name));
		IF names IS NOT NULL THEN
			status := 'warning';
			detail := 'published tables that flo.replicators does not list: ' || names;
			hint := 'They were added to the publication by hand or renamed; rows they held before were not copied.';
			RETURN NEXT;
		END IF;

		IF status = 'ok' THEN
			detail := format('tables published: %s',
							 (SELECT count(*) FROM flo.tables t WHERE t.group_name = check_source.group_name AND t.state <> 'left out'));
			RETURN NEXT;
		END IF;
	END IF;

	-- replica identities
	item := 'replica identities of group ' || group_name;
	status := 'ok';
	detail := 'every published table has one';
	hint := NULL;
	SELECT string_agg(c.relation::text, ', ' ORDER BY c.relation::text) FILTER (WHERE c.published),
		   string_agg(c.relation::text, ', ' ORDER BY c.relation::text) FILTER (WHERE NOT c.published)
	  INTO names, keyless
	  FROM flo.covered_tables(group_name) c
	 WHERE NOT c.has_identity
	   AND NOT EXISTS (SELECT FROM pg_publication p JOIN pg_publication_rel pr ON pr.prpubid = p.oid
						WHERE p.pubname = 'pgflo_' || check_source.group_name || '_insert' AND pr.prrelid = c.relation);
	SELECT string_agg(a.relation::regclass::text, ', ' ORDER BY a.relation::regclass::text) INTO astray
	  FROM flo.astray a JOIN pg_class c ON c.oid = a.relation WHERE a.group_name = check_source.group_name;
	IF astray IS NOT NULL THEN
		status := 'error';
		detail := 'left out until their replica identity is mended, as it does not identify the rows that change: ' || astray;
		hint := 'Give each the replica identity of the table as which it is published; what was left out is copied then. flo.tables has the reasons.';
	ELSIF names IS NOT NULL THEN
		status := 'error';
		detail := 'UPDATE and DELETE fail on published tables without a usable one: ' || names;
		hint := 'Add a primary key, set a replica identity, or take the tables out with flo.remove_table().';
	ELSIF keyless IS NOT NULL THEN
		status := 'warning';
		detail := 'not replicated because they have none that is usable: ' || keyless;
		hint := 'They join when they get a primary key; see also the option keyless_tables, and flo.tables for the reasons.';
	END IF;
	RETURN NEXT;

	-- what is covered by name or place, but never in the WAL
	item := 'unlogged and foreign tables of group ' || group_name;
	status := 'ok';
	detail := 'none among the group''s tables';
	hint := NULL;
	SELECT string_agg(c.oid::regclass::text, ', ' ORDER BY c.oid::regclass::text) INTO names
	  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	 WHERE ((c.relkind IN ('r', 'p') AND c.relpersistence = 'u') OR c.relkind = 'f')
	   AND c.oid >= 16384 AND n.nspname <> 'flo'
	   AND (replicator.except_tables IS NULL OR format('%I.%I', n.nspname, c.relname) <> ALL (replicator.except_tables))
	   AND (n.nspname = ANY (replicator.schemas)
			OR (replicator.tables IS NULL AND replicator.schemas IS NULL)
			OR EXISTS (SELECT FROM pg_partition_ancestors(c.oid) a JOIN flo.covered_tables(check_source.group_name) t ON t.relation = a.relid));
	IF names IS NOT NULL THEN
		status := 'warning';
		detail := 'not replicated: ' || names;
		hint := 'Their changes are not in the WAL.';
	END IF;
	RETURN NEXT;

	item := 'large objects of group ' || group_name;
	status := 'ok';
	detail := 'none';
	hint := NULL;
	IF EXISTS (SELECT FROM pg_largeobject_metadata) THEN
		SELECT string_agg(c.relation::text || '.' || quote_ident(a.attname), ', ' ORDER BY c.relation::text, a.attnum) INTO names
		  FROM flo.covered_tables(group_name) c JOIN pg_attribute a ON a.attrelid = c.relation
		 WHERE a.attnum > 0 AND NOT a.attisdropped
		   AND (a.atttypid = 'oid'::regtype OR EXISTS (SELECT FROM pg_type t WHERE t.oid = a.atttypid AND t.typname = 'lo'));
		detail := 'the database has large objects, none of the group''s columns seems to refer to them';
		IF names IS NOT NULL THEN
			status := 'warning';
			detail := 'large objects are not replicated; columns that may refer to some: ' || names;
			hint := 'Move them to columns of type bytea, or copy them by other means.';
		END IF;
	END IF;
	RETURN NEXT;

	-- the slot, and what may take it away
	item := 'replication slot of group ' || group_name;
	status := 'ok';
	hint := NULL;
	SELECT s.* INTO slot FROM pg_replication_slots s
	 WHERE s.slot_name = 'pgflo_' || (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) || '_' || group_name;
	IF NOT FOUND THEN
		detail := 'not made yet';
		IF EXISTS (SELECT FROM flo.generations g WHERE g.group_name = check_source.group_name) THEN
			status := 'error';
			detail := 'the slot is gone';
			hint := 'Changes since its loss cannot be had any more: drop the replicator and create it again.';
		END IF;
	ELSIF pg_catalog.to_jsonb(slot) ->> 'invalidation_reason' = 'idle_timeout' THEN
		status := 'error';
		detail := 'the slot was not used for longer than idle_replication_slot_timeout and is invalidated';
		hint := 'Call flo.resync() or drop the replicator and create it again; see idle_replication_slot_timeout.';
	ELSIF slot.wal_status = 'lost' THEN
		status := 'error';
		detail := 'the server has removed WAL that the slot needs';
		hint := 'Drop the replicator and create it again; see max_slot_wal_keep_size.';
	ELSE
		detail := format('%s keeps %s of WAL', slot.slot_name,
						 pg_size_pretty(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
											 ELSE pg_current_wal_lsn() END - slot.restart_lsn));
	END IF;
	IF status = 'ok' AND current_setting('max_slot_wal_keep_size') <> '-1' THEN
		status := 'warning';
		detail := detail || ', and max_slot_wal_keep_size is ' || current_setting('max_slot_wal_keep_size');
		hint := 'The slot is lost when NATS is away for longer than that much WAL lasts.';
	END IF;
	IF status = 'ok' AND current_setting('idle_replication_slot_timeout', true) <> '0' THEN
		status := 'warning';
		detail := detail || ', and idle_replication_slot_timeout is ' || current_setting('idle_replication_slot_timeout');
		hint := 'The slot is lost when the replicator is stopped for longer than that.';
	END IF;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION flo.check_source(text) IS 'internal: the part of flo.check() about a group''s replicator';

CREATE FUNCTION flo.check_rules(group_name text, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	is_source bool := EXISTS (SELECT FROM flo.sources r WHERE r.group_name = check_rules.group_name);
	rule record;
	seen flo.shaped_tables;
	old_is_unknown bool;
BEGIN
	FOR rule IN
		SELECT r.*, flo.rule_problem(r.id) AS problem,
			   CASE r.stage WHEN 'replicator' THEN is_source
				ELSE EXISTS (SELECT FROM flo.members w WHERE w.sink IS NOT NULL AND w.group_name = r.group_name
							 AND (r.worker_name IS NULL OR w.member = r.worker_name)) END AS has_member,
			   EXISTS (SELECT FROM flo.progress p WHERE p.group_name = r.group_name
						AND (r.worker_name IS NULL OR p.worker_name = r.worker_name)) AS has_begun,
			   EXISTS (SELECT FROM flo.members w WHERE w.sink IS NOT NULL AND w.group_name = r.group_name AND w.sink = 'postgres'
						AND (r.worker_name IS NULL OR w.member = r.worker_name)) AS applied_here
		  FROM flo.rules r WHERE r.group_name = check_rules.group_name AND r.enabled ORDER BY r.id
	LOOP
		item := format('rule %s of group %s', rule.id, group_name);
		IF NOT rule.has_member THEN
			status := 'error';
			detail := 'nothing in this database executes it, and the group does not start';
			hint := 'Write it in the database of the member that is to execute it, or disable it.';
			RETURN NEXT;
		END IF;
		IF rule.problem IS NOT NULL THEN
			status := 'error';
			detail := rule.problem;
			hint := 'It stops its member at the first row of the table: change or disable it.';
			RETURN NEXT;
		END IF;

		-- does it ever match?
		SELECT s.* INTO seen FROM flo.shaped_tables s
		 WHERE s.group_name = check_rules.group_name AND s.schema_name = rule.schema_name AND s.table_name = rule.table_name LIMIT 1;
		IF is_source AND NOT EXISTS (SELECT FROM flo.tables t WHERE t.group_name = check_rules.group_name
									 AND t.table_name = format('%I.%I', rule.schema_name, rule.table_name)) THEN
			status := 'warning';
			detail := format('it never matches: the group does not publish %I.%I', rule.schema_name, rule.table_name);
			hint := 'Names are those of the source; for a partitioned table, of its root.';
			RETURN NEXT;
		ELSIF NOT is_source AND rule.has_begun AND seen.relation IS NULL THEN
			status := 'warning';
			detail := format('it has not matched yet: no row of %I.%I has come', rule.schema_name, rule.table_name);
			hint := 'Names are those of the source; for a partitioned table, of its root.';
			RETURN NEXT;
		ELSIF NOT is_source AND rule.applied_here AND to_regclass(format('%I.%I', rule.schema_name, rule.table_name)) IS NULL
			  AND NOT EXISTS (SELECT FROM flo.routes o WHERE o.group_name = check_rules.group_name AND o.enabled
							  AND o.source_schema = rule.schema_name AND o.source_table IN (rule.table_name, '*')) THEN
			status := 'warning';
			detail := format('there is no table %I.%I here, and no route for it', rule.schema_name, rule.table_name);
			hint := 'Names are those of the source; for a partitioned table, of its root.';
			RETURN NEXT;
		END IF;

		-- can it tell what leaves the filter?
		old_is_unknown := seen.columns <> seen.keys AND coalesce(rule.column_name <> ALL (seen.keys), true);
		IF is_source THEN
			SELECT c.relreplident <> 'f' AND NOT EXISTS (
						SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
						 WHERE i.indrelid = c.oid AND a.attname = rule.column_name
						   AND CASE c.relreplident WHEN 'd' THEN i.indisprimary ELSE i.indisreplident END)
			  INTO old_is_unknown
			  FROM pg_class c WHERE c.oid = to_regclass(format('%I.%I', rule.schema_name, rule.table_name));
		END IF;
		IF old_is_unknown AND 'UPDATE' = ANY (rule.operations) AND rule.action NOT IN ('regex', 'mask', 'expression') THEN
			status := 'warning';
			detail := 'the old row does not hold what this filter looks at: when an UPDATE makes a row leave the filter, the UPDATE is dropped and the row stays at the destination';
			hint := 'Give the table REPLICA IDENTITY FULL at the source.';
			RETURN NEXT;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION flo.check_rules(text) IS 'internal: the part of flo.check() about a group''s rules';

CREATE FUNCTION flo.check_routes(group_name text, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	route record;
	names text;
BEGIN
	FOR route IN
		SELECT r.*, format('%I.%I', coalesce(r.destination_schema, r.source_schema), coalesce(r.destination_table, r.source_table)) AS destination,
			   EXISTS (SELECT FROM flo.members w WHERE w.sink IS NOT NULL AND w.group_name = r.group_name
						AND (r.worker_name IS NULL OR w.member = r.worker_name)) AS has_member,
			   EXISTS (SELECT FROM flo.members w WHERE w.sink IS NOT NULL AND w.group_name = r.group_name AND w.sink = 'postgres'
						AND (r.worker_name IS NULL OR w.member = r.worker_name)) AS applied_here,
			   EXISTS (SELECT FROM flo.progress p WHERE p.group_name = r.group_name
						AND (r.worker_name IS NULL OR p.worker_name = r.worker_name)) AS has_begun,
			   EXISTS (SELECT FROM flo.shaped_tables s WHERE s.group_name = r.group_name AND s.schema_name = r.source_schema
						AND r.source_table IN (s.table_name, '*')) AS has_matched
		  FROM flo.routes r WHERE r.group_name = check_routes.group_name AND r.enabled ORDER BY r.id
	LOOP
		item := format('route %s of group %s', route.id, group_name);
		IF NOT route.has_member THEN
			status := 'error';
			detail := 'nothing in this database executes it, and the group does not start';
			hint := 'Write it in the database of the worker that is to execute it, or disable it.';
			RETURN NEXT;
		ELSIF route.has_begun AND NOT route.has_matched THEN
			status := 'warning';
			detail := format('it has not matched yet: no row of %I.%s has come', route.source_schema,
							 CASE route.source_table WHEN '*' THEN '*' ELSE quote_ident(route.source_table) END);
			hint := 'Names are those of the source; for a partitioned table, of its root.';
			RETURN NEXT;
		END IF;
		CONTINUE WHEN route.source_table = '*' OR NOT route.applied_here;
		IF to_regclass(route.destination) IS NULL THEN
			status := 'error';
			detail := format('table %s does not exist here', route.destination);
			hint := 'Create it, or change the route.';
			RETURN NEXT;
			CONTINUE;
		END IF;
		SELECT string_agg(format('%I to %I', m.key, m.value), ', ' ORDER BY m.key) INTO names
		  FROM jsonb_each_text(route.column_mappings) m
		 WHERE m.value IS NOT NULL
		   AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass(route.destination)
							AND a.attname = m.value AND a.attnum > 0 AND NOT a.attisdropped);
		IF names IS NOT NULL THEN
			status := 'error';
			detail := format('it maps columns to such as %s does not have: %s', route.destination, names);
			hint := 'Add the columns, or change the route.';
			RETURN NEXT;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION flo.check_routes(text) IS 'internal: the part of flo.check() about a group''s routes';

CREATE FUNCTION flo.check_members(group_name text, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	member record;
	names text;
BEGIN
	FOR member IN
		SELECT s.member, s.state, s.detail, s.last_error, s.foreign_messages,
			   EXISTS (SELECT FROM pg_roles o WHERE o.oid = m.owner) AS owner_exists, m.owner::oid AS owner
		  FROM flo.status s
		  JOIN flo.members m ON m.group_name = s.group_name AND m.member = s.member
		 WHERE s.group_name = check_members.group_name ORDER BY s.member
	LOOP
		item := format('member %s of group %s', member.member, group_name);
		hint := NULL;
		detail := concat_ws(': ', member.state, member.detail);
		status := CASE WHEN member.state = 'failed' THEN 'error'
					   WHEN member.state IN ('backoff', 'waiting', 'stopped') THEN 'warning'
					   ELSE 'ok' END;
		IF member.state IN ('failed', 'backoff') AND member.last_error IS NOT NULL
		   AND position(coalesce(member.detail, '-') IN member.last_error) = 0 THEN
			detail := detail || '; last error: ' || member.last_error;
		END IF;
		IF member.state = 'stopped' THEN
			hint := 'flo.start_group() starts it.';
		ELSIF member.state = 'failed' THEN
			hint := 'Remove the cause, then call flo.start_group().';
		END IF;
		RETURN NEXT;

		IF member.foreign_messages > 0 THEN
			status := 'warning';
			detail := format('%s logical decoding messages in WAL that somebody else wrote in the name of pg_flo were left out', member.foreign_messages);
			hint := 'Look for a role that calls pg_logical_emit_message(); flo.reset_stats() begins to count anew.';
			RETURN NEXT;
		END IF;
		IF NOT member.owner_exists THEN
			status := 'error';
			detail := format('its owner, a role with OID %s, no longer exists', member.owner);
			hint := 'A superuser gives it another one with flo.set_owner().';
			RETURN NEXT;
		END IF;
	END LOOP;

	FOR member IN
		SELECT w.worker_name, o.rolname AS owner, coalesce(w.options->>'ddl_trust', 'object') AS trust, o.rolsuper
		  FROM flo.workers w JOIN pg_roles o ON o.oid = w.owner
		 WHERE w.group_name = check_members.group_name AND w.sink = 'postgres' AND coalesce(w.options->>'ddl', 'apply') = 'apply'
		 ORDER BY w.worker_name
	LOOP
		item := format('DDL rights of member %s of group %s', member.worker_name, group_name);
		status := 'ok';
		hint := NULL;
		IF member.trust = 'source' THEN
			detail := format('ddl_trust is source: owners of tables at the source can do here whatever %s "%s" can',
							 CASE WHEN member.rolsuper THEN 'superuser' ELSE 'role' END, member.owner);
			IF member.rolsuper THEN
				status := 'warning';
				hint := 'Let a role that is no superuser create the worker, or set ddl_trust to object and release what is held.';
			END IF;
		ELSE
			detail := 'ddl_trust is object: DDL of the source runs as the owner of what it is about; code it brings is held in flo.pending_ddl';
		END IF;
		RETURN NEXT;
	END LOOP;

	FOR member IN
		SELECT t.table_name, t.detail FROM flo.tables t
		 WHERE t.group_name = check_members.group_name AND t.state = 'given up' ORDER BY 1, 2
	LOOP
		item := format('table %s of group %s', member.table_name, group_name);
		status := 'warning';
		detail := 'given up ' || member.detail;
		hint := format('Remove the cause, then call flo.resync(%L, %L) at the source, which copies it anew.', group_name, member.table_name);
		RETURN NEXT;
	END LOOP;

	RETURN QUERY SELECT r.* FROM flo.check_rules(group_name) r UNION ALL SELECT r.* FROM flo.check_routes(group_name) r;
	IF NOT FOUND THEN
		item := 'rules and routes of group ' || group_name;
		status := 'ok';
		detail := (SELECT CASE count(*) WHEN 0 THEN CASE WHEN flo.owns_member(group_name) THEN 'none' ELSE 'shown to owners of its members' END ELSE format('%s, and nothing is known against them', count(*)) END
					 FROM (SELECT FROM flo.rules r WHERE r.group_name = check_members.group_name AND r.enabled
						   UNION ALL
						   SELECT FROM flo.routes r WHERE r.group_name = check_members.group_name AND r.enabled) x);
		hint := NULL;
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION flo.check_members(text) IS 'internal: the part of flo.check() about a group''s processes, rules and routes';

CREATE FUNCTION flo.adoptable(schemas oid[], relations oid[], types oid[], routines oid[],
							  OUT class oid, OUT object oid, OUT owner oid, OUT named bool)
	RETURNS SETOF record LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	WITH relation AS (
		SELECT c.oid, c.relowner, coalesce(c.oid = ANY (relations), false) AS named,
			   -- tables are known by the source's word, or not at all
			   c.relkind IN ('v', 'm', 'S') OR c.oid = ANY (relations) AS itself
		  FROM pg_class c
		 WHERE c.oid = ANY (relations)
			OR (c.relnamespace = ANY (schemas) AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
				-- partitions and owned sequences go with their tables
				AND NOT c.relispartition
				AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
								AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))))
	SELECT x.class, x.object, CASE x.owner WHEN 'pg_database_owner'::regrole THEN (SELECT d.datdba FROM pg_database d WHERE d.datname = current_database()) ELSE x.owner END, x.named
	  FROM (SELECT 'pg_namespace'::regclass::oid AS class, n.oid AS object, n.nspowner AS owner, false AS named
			  FROM pg_namespace n WHERE n.oid = ANY (schemas)
			UNION ALL
			SELECT 'pg_class'::regclass, r.oid, r.relowner, r.named FROM relation r WHERE r.itself
			UNION ALL
			SELECT 'pg_type'::regclass, t.oid, t.typowner, coalesce(t.oid = ANY (types), false) FROM pg_type t
			 WHERE t.oid = ANY (types)
				OR (t.typnamespace = ANY (schemas) AND t.typtype IN ('b', 'c', 'd', 'e', 'r')
					AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind <> 'c')
					AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid))
			UNION ALL
			SELECT 'pg_proc'::regclass, p.oid, p.proowner, coalesce(p.oid = ANY (routines), false) FROM pg_proc p
			 WHERE p.oid = ANY (routines)
				OR (p.pronamespace = ANY (schemas)
					-- the functions of a range type
					AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i'))
			UNION ALL
			SELECT 'pg_operator'::regclass, o.oid, o.oprowner, false FROM pg_operator o WHERE o.oprnamespace = ANY (schemas)
			UNION ALL
			SELECT 'pg_collation'::regclass, c.oid, c.collowner, false FROM pg_collation c WHERE c.collnamespace = ANY (schemas)
			UNION ALL
			-- what is attached to these tables and views, and is not part of them
			SELECT 'pg_trigger'::regclass, t.oid, r.relowner, false
			  FROM pg_trigger t JOIN relation r ON r.oid = coalesce(pg_partition_root(t.tgrelid), t.tgrelid) WHERE NOT t.tgisinternal
			UNION ALL
			SELECT 'pg_rewrite'::regclass, w.oid, r.relowner, false
			  FROM pg_rewrite w JOIN relation r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'
			UNION ALL
			SELECT 'pg_policy'::regclass, p.oid, r.relowner, false FROM pg_policy p JOIN relation r ON r.oid = p.polrelid) x
	 WHERE x.named OR NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = x.class AND d.objid = x.object AND d.deptype = 'e')
$$;
COMMENT ON FUNCTION flo.adoptable(oid[], oid[], oid[], oid[]) IS 'internal: the objects of schemas but tables, and those named, that are nobody''s part and no extension''s';

CREATE FUNCTION flo.adopt(
	group_name text,
	schemas regnamespace[] DEFAULT '{}',
	relations regclass[] DEFAULT '{}',
	types regtype[] DEFAULT '{}',
	routines regprocedure[] DEFAULT '{}',
	may text DEFAULT 'change',
	OUT type text,
	OUT object text
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_adopt' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.adopt(text, regnamespace[], regclass[], regtype[], regprocedure[], text) IS
'At a destination: says that objects which were prepared by hand are what the source has under these names, so that its DDL need not be held: schemas and all in them but tables, as far as it belongs to roles whose rights the caller and a worker''s owner have, and what is named. With may = refer they may only be referred to; with nothing they are none of the group''s. Of what is not named, only that is taken of which nothing was known, or less than change. Returns what has changed. Errors: 42704 no worker with a postgres sink here, 42501 not the worker''s owner, or of another role, 22023 of the system, part of another object or an extension''s, 55000 called by a member''s own process';

CREATE FUNCTION flo.check_known(group_name text, tracked jsonb, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	unknown record;
BEGIN
	IF NOT EXISTS (SELECT FROM flo.workers w WHERE w.group_name = check_known.group_name AND w.sink = 'postgres'
				   AND coalesce(w.options->>'ddl', 'apply') <> 'ignore' AND coalesce(w.options->>'ddl_trust', 'object') = 'object') THEN
		RETURN;
	END IF;
	-- tables and the types of their columns are known by the source's word, when the first statement comes
	SELECT count(*) AS number, string_agg(DISTINCT quote_ident(schema), ',') AS schemas,
		   string_agg(name, ', ' ORDER BY name) FILTER (WHERE place <= 5) AS names
	  INTO unknown
	  FROM (SELECT i.schema, pg_describe_object(a.class, a.object, 0) AS name, row_number() OVER (ORDER BY a.class, a.object) AS place
			  FROM flo.adoptable(ARRAY(SELECT n.oid FROM pg_namespace n
										WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'flo')
										  AND ((tracked->>'all')::bool OR tracked->'schemas' ? n.nspname)), '{}', '{}', '{}') a
				   CROSS JOIN LATERAL pg_identify_object(a.class, a.object, 0) i
			 WHERE i.schema IS NOT NULL
			   AND NOT EXISTS (SELECT FROM pg_attribute t WHERE a.class = 'pg_type'::regclass
							   AND t.atttypid IN (a.object, (SELECT e.typarray FROM pg_type e WHERE e.oid = a.object)))
			   AND NOT EXISTS (SELECT FROM flo.group_objects o WHERE o.group_name = check_known.group_name
							   AND o.class_oid = a.class AND o.object_oid = a.object AND o.may <> 'refer')) u;
	item := 'objects of group ' || group_name;
	status := 'ok';
	detail := 'of what can be changed by DDL of the source nothing is unknown here but tables, which it names';
	IF unknown.number > 0 THEN
		status := 'warning';
		detail := format('%s objects are not known to be the group''s, so that the first statement about each will be held: %s%s',
						 unknown.number, unknown.names, CASE WHEN unknown.number > 5 THEN ', ...' END);
		hint := format('If they are the source''s: SELECT * FROM flo.adopt(%L, schemas => ''{%s}''); if they are yours, the same with may => ''nothing''.',
					   group_name, unknown.schemas);
	END IF;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION flo.check_known(text, jsonb) IS 'internal: the part of flo.check() about objects of a destination that DDL of the source may be about';

CREATE FUNCTION flo.check(group_name text DEFAULT NULL, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	name text;
	broker record;
BEGIN
	IF group_name IS NOT NULL AND NOT EXISTS (SELECT FROM flo.groups g WHERE g.group_name = "check".group_name) THEN
		RAISE EXCEPTION 'group "%" does not exist in this database', group_name
			USING ERRCODE = 'undefined_object', HINT = 'flo.groups lists the groups of this database.';
	END IF;

	RETURN QUERY
		SELECT s.* FROM flo.check_server(
			(SELECT count(*)::int FROM flo.members),
			(SELECT count(*)::int FROM flo.sources),
			(SELECT count(*)::int FROM flo.members m WHERE m.sink = 'postgres')) s;

	FOR name IN
		SELECT g.group_name FROM flo.groups g
		 WHERE "check".group_name IS NULL OR g.group_name = "check".group_name ORDER BY g.group_name
	LOOP
		RETURN QUERY SELECT s.* FROM flo.check_source(name) s;
		RETURN QUERY SELECT m.* FROM flo.check_members(name) m;
	END LOOP;

	FOR broker IN SELECT b.* FROM flo.check_broker(group_name) b LOOP
		IF broker.status = 'tracked' THEN
			RETURN QUERY SELECT k.* FROM flo.check_known(broker.item, broker.detail::jsonb) k;
		ELSE
			item := broker.item;
			status := broker.status;
			detail := broker.detail;
			hint := broker.hint;
			RETURN NEXT;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION flo.check(text) IS
'Preflight of one group or of all groups here: what is ok, what is not (warning, error) and what to do about it. Error: 42704 unknown group';

---------------------------------------------------------------------------
-- Definitions of tables and what they need (sync_schema)
---------------------------------------------------------------------------

CREATE FUNCTION flo.object_needs(class oid, object oid) RETURNS TABLE (needed_class oid, needed_object oid)
	LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	-- what it depends on; a sequence does not need the table that owns it
	SELECT d.refclassid, d.refobjid FROM pg_depend d
	 WHERE d.classid = class AND d.objid = object AND d.refobjid >= 16384
	   AND NOT (class = 'pg_class'::regclass AND d.deptype = 'a'
				AND (SELECT c.relkind = 'S' FROM pg_class c WHERE c.oid = object))
	UNION
	-- its parts
	SELECT 'pg_attrdef'::regclass, a.oid FROM pg_attrdef a
	 WHERE class = 'pg_class'::regclass AND a.adrelid = object
	UNION
	SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c
	 WHERE class = 'pg_class'::regclass AND c.conrelid = object AND c.contype = 'c'
	UNION
	SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c
	 WHERE class = 'pg_type'::regclass AND c.contypid = object
	UNION
	SELECT d.classid, d.objid FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
	 WHERE class = 'pg_class'::regclass AND d.refclassid = class AND d.refobjid = object
	   AND d.classid = class AND d.deptype IN ('a', 'i')
	UNION
	SELECT 'pg_class'::regclass, t.typrelid FROM pg_type t
	 WHERE class = 'pg_type'::regclass AND t.oid = object AND t.typrelid <> 0
	UNION
	SELECT d.classid, d.objid FROM pg_depend d
	 WHERE class IN ('pg_opclass'::regclass, 'pg_opfamily'::regclass) AND d.refclassid = class AND d.refobjid = object
	   AND d.classid IN ('pg_amop'::regclass, 'pg_amproc'::regclass)
$$;
COMMENT ON FUNCTION flo.object_needs(oid, oid) IS 'internal: what has to exist for an object to be created';

CREATE FUNCTION flo.needed_objects(
	group_name text,
	with_policies bool,
	tables oid[],
	OUT class oid,
	OUT object oid,
	OUT left_out text
) RETURNS SETOF record LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE published AS (
		SELECT DISTINCT c.oid FROM pg_publication_tables p
		  JOIN pg_namespace n ON n.nspname = p.schemaname
		  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
		 WHERE p.pubname IN ('pgflo_' || needed_objects.group_name, 'pgflo_' || needed_objects.group_name || '_insert')),
	whole AS (
		SELECT p.oid, tables IS NULL OR p.oid = ANY (tables) AS asked FROM published p
		UNION
		SELECT i.inhrelid, w.asked FROM whole w
		  JOIN pg_class p ON p.oid = w.oid AND p.relkind = 'p'
		  JOIN pg_inherits i ON i.inhparent = w.oid),
	tree AS (
		SELECT DISTINCT w.oid FROM whole w WHERE w.asked),
	there AS (
		SELECT w.oid FROM whole w WHERE NOT w.asked AND w.oid NOT IN (SELECT t.oid FROM tree t)),
	needed (class, object) AS (
		SELECT 'pg_class'::regclass::oid, t.oid FROM tree t
		UNION
		SELECT o.needed_class, o.needed_object FROM needed n CROSS JOIN LATERAL flo.object_needs(n.class, n.object) o),
	relation AS (
		SELECT n.object AS oid FROM needed n JOIN pg_class c ON c.oid = n.object
		 WHERE n.class = 'pg_class'::regclass AND c.relkind IN ('r', 'p')),
	extra (class, object) AS (
		SELECT 'pg_class'::regclass::oid, i.indexrelid FROM relation r JOIN pg_index i ON i.indrelid = r.oid
		UNION ALL
		-- what is NOT NULL comes with its column, unless it is not valid yet (18)
		SELECT 'pg_constraint'::regclass, c.oid FROM relation r JOIN pg_constraint c ON c.conrelid = r.oid
		   AND (c.contype IN ('p', 'u', 'x', 'f') OR c.contype = 'n' AND NOT c.convalidated)
		UNION ALL
		SELECT 'pg_trigger'::regclass, t.oid FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
		UNION ALL
		SELECT 'pg_statistic_ext'::regclass, s.oid FROM relation r JOIN pg_statistic_ext s ON s.stxrelid = r.oid
		UNION ALL
		SELECT 'pg_rewrite'::regclass, w.oid FROM relation r JOIN pg_rewrite w ON w.ev_class = r.oid AND w.rulename <> '_RETURN'
		UNION ALL
		SELECT 'pg_policy'::regclass, p.oid FROM relation r JOIN pg_policy p ON p.polrelid = r.oid WHERE with_policies),
	extra_needs (root_class, root_object, class, object) AS (
		SELECT e.class, e.object, e.class, e.object FROM extra e
		UNION
		SELECT x.root_class, x.root_object, o.needed_class, o.needed_object
		  FROM extra_needs x CROSS JOIN LATERAL flo.object_needs(x.class, x.object) o
		  LEFT JOIN needed n ON n.class = o.needed_class AND n.object = o.needed_object
		 WHERE n.class IS NULL AND NOT (o.needed_class = 'pg_class'::regclass AND o.needed_object IN (SELECT t.oid FROM there t))),
	outside AS (
		SELECT x.root_class, x.root_object, min(x.object::regclass::text) AS other
		  FROM extra_needs x JOIN pg_class c ON c.oid = x.object
		 WHERE x.class = 'pg_class'::regclass AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
		 GROUP BY 1, 2)
	SELECT n.class, n.object, NULL::text FROM needed n
	UNION
	SELECT x.class, x.object, NULL FROM extra_needs x
	  LEFT JOIN outside o ON o.root_class = x.root_class AND o.root_object = x.root_object
	 WHERE o.root_class IS NULL
	UNION
	SELECT o.root_class, o.root_object,
		   format('%s: it needs %s', pg_describe_object(o.root_class, o.root_object, 0), o.other) FROM outside o
$$;
COMMENT ON FUNCTION flo.needed_objects(text, bool, oid[]) IS
'internal: the group''s tables, or these of them, and all they need; left_out says why an index, constraint, trigger or rule does not come along';

CREATE FUNCTION flo.definition_of(class oid, object oid) RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE class
		WHEN 'pg_class'::regclass THEN (SELECT CASE
			WHEN c.relkind IN ('r', 'p', 'c') THEN concat_ws(E'\n',
				(SELECT string_agg(concat_ws(' ', 'column', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
						(SELECT 'COLLATE ' || l.collname FROM pg_collation l, pg_type t
						  WHERE l.oid = a.attcollation AND t.oid = a.atttypid AND t.typcollation <> a.attcollation),
						CASE WHEN a.attnotnull THEN 'NOT NULL' END,
						CASE a.attidentity WHEN 'a' THEN 'GENERATED ALWAYS AS IDENTITY' WHEN 'd' THEN 'GENERATED BY DEFAULT AS IDENTITY' END,
						CASE WHEN d.oid IS NOT NULL THEN
							CASE WHEN a.attgenerated = '' THEN 'DEFAULT ' ELSE 'GENERATED AS ' END || pg_get_expr(d.adbin, d.adrelid) END,
						CASE WHEN a.attgenerated = 'v' THEN 'VIRTUAL' END),
					E'\n' ORDER BY a.attname)
				   FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
				  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
				(SELECT string_agg('constraint ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid), E'\n' ORDER BY k.conname)
				   FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.convalidated),
				'partitioned by ' || pg_get_partkeydef(c.oid),
				(SELECT string_agg(CASE WHEN c.relispartition THEN 'partition of ' ELSE 'inherits ' END || i.inhparent::regclass, E'\n' ORDER BY i.inhseqno)
				   FROM pg_inherits i WHERE i.inhrelid = c.oid),
				pg_get_expr(c.relpartbound, c.oid),
				CASE c.relpersistence WHEN 'u' THEN 'unlogged' END)
			WHEN c.relkind = 'S' THEN (SELECT format('sequence AS %s INCREMENT %s MINVALUE %s MAXVALUE %s START %s %s',
					format_type(s.seqtypid, NULL), s.seqincrement, s.seqmin, s.seqmax, s.seqstart, CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END)
				FROM pg_sequence s WHERE s.seqrelid = c.oid)
			WHEN c.relkind IN ('i', 'I') THEN pg_get_indexdef(c.oid)
			END FROM pg_class c WHERE c.oid = object)
		WHEN 'pg_type'::regclass THEN (SELECT CASE t.typtype
			WHEN 'e' THEN (SELECT string_agg('label ' || quote_literal(e.enumlabel), E'\n' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid)
			WHEN 'd' THEN concat_ws(E'\n', 'domain over ' || format_type(t.typbasetype, t.typtypmod), CASE WHEN t.typnotnull THEN 'NOT NULL' END,
				'DEFAULT ' || t.typdefault,
				(SELECT string_agg('constraint ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid), E'\n' ORDER BY k.conname)
				   FROM pg_constraint k WHERE k.contypid = t.oid AND k.convalidated AND k.contype = 'c'))
			WHEN 'c' THEN flo.definition_of('pg_class'::regclass, t.typrelid)
			WHEN 'r' THEN (SELECT 'range of ' || format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = t.oid)
			END FROM pg_type t WHERE t.oid = object)
		WHEN 'pg_proc'::regclass THEN (SELECT pg_get_functiondef(p.oid) FROM pg_proc p WHERE p.oid = object AND p.prokind <> 'a')
		WHEN 'pg_attrdef'::regclass THEN (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d WHERE d.oid = object)
		WHEN 'pg_constraint'::regclass THEN pg_get_constraintdef(object)
		WHEN 'pg_trigger'::regclass THEN pg_get_triggerdef(object)
		WHEN 'pg_rewrite'::regclass THEN pg_get_ruledef(object)
		WHEN 'pg_statistic_ext'::regclass THEN pg_get_statisticsobjdef(object)
		WHEN 'pg_policy'::regclass THEN (SELECT concat_ws(' ', p.polcmd, p.polpermissive, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
			FROM pg_policy p WHERE p.oid = object)
	END
$$;
COMMENT ON FUNCTION flo.definition_of(oid, oid) IS
'internal: the definition of an object, one property a line, as it compares between two databases; NULL when there is nothing to compare';

CREATE FUNCTION flo.find_object(type text, names text[], args text[], OUT class oid, OUT object oid)
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	SELECT a.classid, a.objid INTO class, object
	  FROM pg_get_object_address(CASE type WHEN 'shell type' THEN 'type' ELSE type END, names, args) a
	 WHERE type = 'shell type' OR NOT EXISTS (
		SELECT FROM pg_type t WHERE a.classid = 'pg_type'::regclass AND t.oid = a.objid AND NOT t.typisdefined)
	   AND NOT EXISTS (
		SELECT FROM pg_operator o WHERE a.classid = 'pg_operator'::regclass AND o.oid = a.objid AND o.oprcode = 0);
EXCEPTION
	WHEN undefined_table OR undefined_object OR undefined_function OR undefined_column OR undefined_parameter
		 OR invalid_schema_name OR wrong_object_type THEN
		NULL;
END
$$;
COMMENT ON FUNCTION flo.find_object(text, text[], text[]) IS
'internal: the object of an address as pg_identify_object_as_address() gives it; NULLs when there is none. A type of which there is no more than the name is a "shell type", such an operator is none';

CREATE FUNCTION flo.definition_difference(there text, here text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN there IS DISTINCT FROM here THEN coalesce(
		(SELECT string_agg(d.line, '; ' ORDER BY split_part(d.place, ' ', 2), d.line DESC)
		   FROM (SELECT 'source: ' || s.line AS line, s.line AS place
				   FROM (SELECT regexp_split_to_table(there, E'\n') EXCEPT SELECT regexp_split_to_table(here, E'\n')) s (line)
				 UNION ALL
				 SELECT 'here: ' || h.line, h.line
				   FROM (SELECT regexp_split_to_table(here, E'\n') EXCEPT SELECT regexp_split_to_table(there, E'\n')) h (line)) d),
		'source: ' || coalesce(there, 'nothing') || '; here: ' || coalesce(here, 'nothing')) END
$$;
COMMENT ON FUNCTION flo.definition_difference(text, text) IS 'internal: the lines that only one of two definitions has; NULL when they are the same';

---------------------------------------------------------------------------
-- Sequences
---------------------------------------------------------------------------

CREATE FUNCTION flo.sequence_state(sequence oid, OUT last_value bigint, OUT is_called bool) RETURNS record
	AS 'MODULE_PATHNAME', 'flo_sequence_state' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.sequence_state(oid) IS
'internal: what SELECT * FROM a sequence gives, by its OID; NULLs when the OID is no sequence''s';

CREATE FUNCTION flo.sequence_values(group_name text) RETURNS jsonb
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	sequence record;
	value record;
	result jsonb := '[]';
BEGIN
	FOR sequence IN
		WITH RECURSIVE tree AS (
			SELECT c.oid FROM pg_publication_tables p
			  JOIN pg_namespace n ON n.nspname = p.schemaname
			  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
			 WHERE p.pubname IN ('pgflo_' || sequence_values.group_name, 'pgflo_' || sequence_values.group_name || '_insert')
			UNION
			SELECT i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid)
		SELECT s.oid, n.nspname, s.relname,
			   jsonb_agg(DISTINCT jsonb_build_object('schema', o.nspname, 'name', c.relname)) AS tables
		  FROM tree t
		  JOIN pg_class c ON c.oid = t.oid
		  JOIN pg_namespace o ON o.oid = c.relnamespace
		  JOIN LATERAL (
				-- owned by a column, or used by a default
				SELECT d.objid AS oid FROM pg_depend d
				 WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
				UNION
				SELECT d.refobjid FROM pg_attrdef a JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid
				 WHERE a.adrelid = t.oid AND d.refclassid = 'pg_class'::regclass) u ON true
		  JOIN pg_class s ON s.oid = u.oid AND s.relkind = 'S' AND s.relpersistence <> 't'
		  JOIN pg_namespace n ON n.oid = s.relnamespace
		 GROUP BY 1, 2, 3 ORDER BY 2, 3
	LOOP
		-- never by name: it may be another relation's by now, a view's whose code would run with our rights
		SELECT s.last_value, s.is_called INTO value FROM flo.sequence_state(sequence.oid) s;
		CONTINUE WHEN value.last_value IS NULL;
		result := result || jsonb_build_object('schema', sequence.nspname, 'name', sequence.relname,
											   'last_value', value.last_value, 'is_called', value.is_called, 'tables', sequence.tables);
	END LOOP;
	RETURN result;
END
$$;
COMMENT ON FUNCTION flo.sequence_values(text) IS
'internal: the sequences that the group''s tables own or use in defaults, where they are, and which tables these are';

CREATE FUNCTION flo.sync_sequences(group_name text) RETURNS pg_lsn
	AS 'MODULE_PATHNAME', 'flo_sync_sequences' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.sync_sequences(text) IS
'Sends the present values of the sequences that the group''s tables own or use to the destinations, in order with the rows; returns the LSN to wait_for() there. Values never go back at a destination. The message is sent even when the calling transaction rolls back. Errors: 42704 unknown group, 55000 mode copy, 42501 privilege';

---------------------------------------------------------------------------
-- Privileges: functions for those who are granted them, the rest to be read
---------------------------------------------------------------------------

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA flo FROM PUBLIC;
-- the views and policies call these with the rights of whoever looks
GRANT EXECUTE ON FUNCTION flo.member_stats(), flo.origin_position(text, text), flo.is_preloaded(), flo.launcher_problem(),
	flo.owns_member(text), flo.left_out_tables(text), flo.key_is_sent(oid) TO PUBLIC;

-- Rows that are not for everybody are kept back by policies.
GRANT SELECT ON ALL TABLES IN SCHEMA flo TO PUBLIC;
GRANT SELECT ON SEQUENCE flo.rules_id_seq, flo.routes_id_seq, flo.webhook_subscriptions_id_seq TO PUBLIC;
REVOKE ALL ON flo.secrets FROM PUBLIC;
