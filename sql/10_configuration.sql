/*
 * 10_configuration.sql
 *		What a group is: the tables that its members, their owners and their
 *		rules are written in, and the views that show them by name.
 */

GRANT USAGE ON SCHEMA flo TO PUBLIC;
COMMENT ON SCHEMA flo IS 'pg_flo: groups that stream changes between databases through NATS JetStream';

---------------------------------------------------------------------------
-- Written by functions only
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

CREATE FUNCTION flo.of_this_library() RETURNS bool
	AS 'MODULE_PATHNAME', 'flo_of_this_library_v2' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION flo.of_this_library() IS
'internal: true, and an error where the server has loaded the library of another version, which reads the view of replicators to see what to start, and so starts nothing';

CREATE VIEW flo.replicators AS
	SELECT s.group_name,
		   CASE WHEN NOT s.every_table THEN
				coalesce((SELECT pg_catalog.array_agg(c.name ORDER BY c.place) FROM flo.chosen_names c WHERE c.group_name = s.group_name AND c.kind = 'table'),
						 CASE WHEN NOT EXISTS (SELECT FROM flo.chosen_names c WHERE c.group_name = s.group_name AND c.kind = 'schema') THEN '{}'::text[] END)
		   END AS tables,
		   (SELECT pg_catalog.array_agg(c.name ORDER BY c.place) FROM flo.chosen_names c WHERE c.group_name = s.group_name AND c.kind = 'schema') AS schemas,
		   (SELECT pg_catalog.array_agg(c.name ORDER BY c.place) FROM flo.chosen_names c WHERE c.group_name = s.group_name AND c.kind = 'except') AS except_tables,
		   s.mode, s.copy_workers, s.sync_schema, s.track_ddl, s.owner, s.started, s.options
	  FROM flo.sources s
	 WHERE flo.of_this_library();
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
	sink text NOT NULL CHECK (sink IN ('postgres', 'file', 'stdout', 'webhook', 'nats', 'kafka', 'search')),
	owner regrole NOT NULL,
	started bool NOT NULL DEFAULT false,
	options jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(options) = 'object'),
	PRIMARY KEY (group_name, worker_name)
);
COMMENT ON TABLE flo.workers IS 'Destination sides of groups in this database; rows are shown to those with the rights of the owner, since the URL of a webhook may be a secret. flo.members shows all, without options';
COMMENT ON COLUMN flo.workers.group_name IS 'group';
COMMENT ON COLUMN flo.workers.worker_name IS 'name of the worker';
COMMENT ON COLUMN flo.workers.sink IS 'where it writes: postgres, file, stdout, webhook, nats, kafka or search';
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
-- Edited by INSERT, UPDATE and DELETE
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
COMMENT ON COLUMN flo.rules.action IS 'regex, mask, expression, null, constant, pseudonym, hash, keep, eq, ne, gt, lt, gte, lte, contains or where';
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
-- What pg_dump saves
---------------------------------------------------------------------------

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
