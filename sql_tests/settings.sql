-- The pg_flo.* parameters
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
SELECT name, unit, context, vartype, min_val, max_val, boot_val, short_desc <> '' AS described
  FROM pg_settings WHERE name LIKE 'pg\_flo.%' ORDER BY name COLLATE "C";

-- secrets are not listed, and shown to nobody
SHOW pg_flo.nats_password;
CREATE ROLE flo_reader;
SET ROLE flo_reader;
\set VERBOSITY sqlstate
SHOW pg_flo.nats_url;
SHOW pg_flo.nats_password;
SHOW pg_flo.nats_token;
SHOW pg_flo.max_workers;
RESET ROLE;
\set VERBOSITY default
DROP ROLE flo_reader;

SET pg_flo.nats_url = 'nats://elsewhere';
SET pg_flo.max_workers = 3;
SET pg_flo.no_such_setting = 3;
\set VERBOSITY sqlstate
ALTER SYSTEM SET pg_flo.heartbeat_interval = '1 ms';
\set VERBOSITY default
