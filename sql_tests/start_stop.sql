-- Starting and stopping
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
CREATE TABLE start_stop_t (id int PRIMARY KEY);
SELECT flo.create_replicator('ss', tables => '{start_stop_t}');
SELECT group_name, member, sink, state, detail, pid, durable_lsn, lag_bytes, lag, retained_wal_bytes, transactions FROM flo.status WHERE group_name = 'ss';

SELECT flo.start_group('nobody');
\echo :SQLSTATE
SELECT flo.start_group('ss', 'nobody');
\echo :SQLSTATE
SELECT flo.start_group(NULL);
\echo :SQLSTATE
SELECT flo.stop_group('nobody');
\echo :SQLSTATE
SELECT flo.stop_group('ss', 'nobody');
\echo :SQLSTATE

-- a rollback starts nothing
BEGIN;
SELECT flo.start_group('ss');
SELECT started FROM flo.replicators WHERE group_name = 'ss';
ROLLBACK;
SELECT started FROM flo.replicators WHERE group_name = 'ss';

-- a prepared transaction would take effect behind our back
\set VERBOSITY sqlstate
BEGIN;
SELECT flo.start_group('ss');
PREPARE TRANSACTION 'ss';
ROLLBACK;
\set VERBOSITY default

-- rows that nothing executes yet
SELECT setval('flo.rules_id_seq', 1000), setval('flo.routes_id_seq', 1000);
BEGIN;
INSERT INTO flo.rules (group_name, table_name, column_name, action) VALUES ('ss', 't', 'c', 'mask');
SELECT flo.start_group('ss');
\echo :SQLSTATE
ROLLBACK;
BEGIN;
INSERT INTO flo.routes (group_name, source_table, destination_table) VALUES ('ss', 't', 'u');
SELECT flo.start_group('ss');
\echo :SQLSTATE
ROLLBACK;

-- in one transaction with everything else
BEGIN;
INSERT INTO flo.rules (group_name, table_name, column_name, action, enabled) VALUES ('ss', 't', 'c', 'mask', false);
SELECT flo.start_group('ss');
SELECT flo.wait_for('ss');
\echo :SQLSTATE
ROLLBACK;

-- started: a process comes; stopped: it goes
CREATE FUNCTION pg_temp.wait_for_process(wanted bool) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 300 LOOP
		IF EXISTS (SELECT FROM flo.status WHERE group_name = 'ss' AND pid IS NOT NULL) = wanted THEN
			RETURN CASE WHEN wanted THEN 'runs' ELSE 'gone' END;
		END IF;
		PERFORM pg_sleep(0.1);	-- sleeps: between two looks
	END LOOP;
	RETURN 'timeout';
END
$$;
SELECT flo.start_group('ss');
SELECT started FROM flo.replicators WHERE group_name = 'ss';
SELECT pg_temp.wait_for_process(true);

-- a rule that nothing would execute is refused now
INSERT INTO flo.rules (group_name, table_name, column_name, action) VALUES ('ss', 't', 'c', 'mask');
\echo :SQLSTATE

-- there is no broker here: not reached, and no error
SELECT flo.wait_for('ss', timeout => '200 ms');
SELECT flo.stop_group('ss', 'replicator');
SELECT pg_temp.wait_for_process(false);
SELECT state, detail FROM flo.status WHERE group_name = 'ss';

SET client_min_messages = error;
SELECT flo.drop_group('ss', force => true);
RESET client_min_messages;
SELECT count(*) FROM flo.groups WHERE group_name = 'ss';
SELECT count(*) FROM pg_publication WHERE pubname = 'pgflo_ss';
SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'pgflo%';
DROP TABLE start_stop_t;
