-- Owners, authors and readers are roles, not names
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
SET client_min_messages = error;
-- none of a type whose values pg_upgrade cannot keep
SELECT attrelid::regclass, attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
 WHERE c.relnamespace = 'flo'::regnamespace AND a.attnum > 0
   AND a.atttypid = ANY ('{regcollation,regconfig,regdictionary,regnamespace,regoper,regoperator,regproc,regprocedure}'::regtype[]);
-- no column keeps a role by its name
SELECT attrelid::regclass AS "table", attname, atttypid::regtype FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
 WHERE c.relnamespace = 'flo'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
   AND (a.atttypid = 'regrole'::regtype OR attname ~ '(owner|author|reader|role|user)$' OR attname ~ '_by$')
 ORDER BY attrelid::regclass::text, attname;

CREATE TABLE roles_t (id int PRIMARY KEY, v text);
CREATE ROLE "Roles ann" SUPERUSER;
CREATE ROLE roles_reader;
CREATE PROCEDURE pg_temp.make() LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL ROLE "Roles ann";
	PERFORM flo.create_replicator('roles', tables => '{roles_t}');
	PERFORM flo.create_worker('roles', 'stdout');
	PERFORM flo.create_worker('roles', 'webhook', options => '{"url": "http://127.0.0.1/"}');
	PERFORM flo.grant_reader('roles', 'roles_reader');
	INSERT INTO flo.rules (group_name, worker_name, table_name, column_name, action, arguments)
	VALUES ('roles', 'stdout', 'roles_t', 'v', 'expression', '{"expression": "current_user::text"}');
	INSERT INTO flo.webhook_subscriptions (group_name, url) VALUES ('roles', 'http://127.0.0.1/more');
	PERFORM flo.give_up('roles', 'public.roles_t', 'stdout');
	RESET ROLE;
END
$$;
CREATE PROCEDURE pg_temp.show() LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN
		SELECT shown FROM (
		SELECT format('%s %s', m.member, m.owner) FROM flo.members m WHERE m.group_name = 'roles'
		UNION ALL SELECT format('reader %s', r.reader) FROM flo.readers r WHERE r.group_name = 'roles'
		UNION ALL SELECT format('rule %s', r.author) FROM flo.rules r WHERE r.group_name = 'roles'
		UNION ALL SELECT format('subscription %s', w.author) FROM flo.webhook_subscriptions w WHERE w.group_name = 'roles'
		UNION ALL SELECT format('given up by %s', g.given_up_by) FROM flo.given_up g WHERE g.group_name = 'roles'
		UNION ALL SELECT regexp_replace(t.detail, ' at .*', '') FROM flo.tables t WHERE t.group_name = 'roles' AND t.state = 'given up'
		UNION ALL SELECT concat_ws(' | ', c.item, c.status, c.detail, c.hint) FROM flo.check('roles') c WHERE c.detail ~ 'OID' OR c.item ~ '^rule'
		) AS lines (l), LATERAL (SELECT regexp_replace(regexp_replace(l, '(subscription|rule|author of \w+) \d{1,4}\M', '\1 N', 'g'), '\d{5,}', 'OID', 'g')) AS s (shown) ORDER BY shown COLLATE "C"
	LOOP
		RAISE INFO '%', line;
	END LOOP;
END
$$;

-- they are who they are under another name
CALL pg_temp.make();
CALL pg_temp.show();
ALTER ROLE "Roles ann" RENAME TO roles_bea;
ALTER ROLE roles_reader RENAME TO roles_guest;
CALL pg_temp.show();
SELECT new_row ->> 'v' AS runs_as FROM flo.preview('roles', 'roles_t', 'INSERT', '{"id": 1, "v": "x"}', worker_name => 'stdout');

-- the server knows what needs them; what was done once needs nobody
\set VERBOSITY terse
DROP ROLE roles_bea;
\echo :SQLSTATE
DROP ROLE roles_guest;
\echo :SQLSTATE
\set VERBOSITY default
SELECT pg_describe_object(classid, objid, objsubid) FROM pg_shdepend
 WHERE refobjid IN ('roles_bea'::regrole, 'roles_guest'::regrole) AND classid = 'pg_class'::regclass AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
 ORDER BY objid, objsubid;

-- as pg_upgrade leaves it, which carries no such dependencies over: a role that is gone is its number, and nobody
SET allow_system_table_mods = on;
DELETE FROM pg_shdepend WHERE refobjid IN ('roles_bea'::regrole, 'roles_guest'::regrole);
RESET allow_system_table_mods;
DROP ROLE roles_bea, roles_guest;
CREATE ROLE roles_bea SUPERUSER;
CREATE ROLE roles_guest;
CALL pg_temp.show();
\set VERBOSITY sqlstate
SELECT * FROM flo.preview('roles', 'roles_t', 'INSERT', '{"id": 1, "v": "x"}', worker_name => 'stdout');
\set VERBOSITY default
SET ROLE roles_guest;
SELECT count(*) FROM flo.workers WHERE group_name = 'roles';
RESET ROLE;

-- made good
UPDATE flo.rules SET author = 'roles_bea' WHERE group_name = 'roles';
UPDATE flo.webhook_subscriptions SET author = 'roles_bea' WHERE group_name = 'roles';
SELECT flo.set_owner('roles', member, 'roles_bea') FROM flo.members WHERE group_name = 'roles';
SELECT flo.revoke_reader('roles', reader) FROM flo.readers WHERE group_name = 'roles';
CALL pg_temp.show();
SELECT new_row ->> 'v' AS runs_as FROM flo.preview('roles', 'roles_t', 'INSERT', '{"id": 1, "v": "x"}', worker_name => 'stdout');
SELECT flo.drop_group('roles', force => true, purge_rules => true);
DROP TABLE roles_t;
DROP ROLE roles_bea, roles_guest;
