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

-- what is shown and logged takes no secret, and is not repeated when it is refused
ALTER SYSTEM SET pg_flo.nats_url = 'nats://user:hidden@127.0.0.1:4222';
\echo :SQLSTATE
ALTER SYSTEM SET pg_flo.nats_url = 'nats://hidden@127.0.0.1';
ALTER SYSTEM SET pg_flo.nats_url = 'nats://127.0.0.1:4222, user:hidden@other:4222';
ALTER SYSTEM SET pg_flo.nats_url = 'tls://user:hid/den@127.0.0.1';
ALTER SYSTEM SET pg_flo.nats_url = 'http://127.0.0.1:4222';
ALTER SYSTEM SET pg_flo.nats_url = 'nats://';
ALTER SYSTEM SET pg_flo.nats_url = 'nats://a b';
ALTER SYSTEM SET pg_flo.nats_url = 'nats://a/path';
ALTER SYSTEM SET pg_flo.nats_url = 'nats://a:0';
ALTER SYSTEM SET pg_flo.nats_url = 'nats://a:65536';
ALTER SYSTEM SET pg_flo.nats_url = 'nats://a:';
ALTER SYSTEM SET pg_flo.nats_url = 'nats://a:4222,';
ALTER SYSTEM SET pg_flo.nats_url = ',nats://a:4222';
ALTER SYSTEM SET pg_flo.nats_url = 'nats://[::1';
ALTER SYSTEM SET pg_flo.webhook_allow = 'https://a.example/, https://user:hidden@b.example/';
ALTER SYSTEM SET pg_flo.schema_dump_conninfo = 'user=postgres password = hidden';
ALTER SYSTEM SET pg_flo.schema_dump_conninfo = 'postgresql://postgres:hidden@localhost/postgres';
ALTER SYSTEM SET pg_flo.schema_dump_conninfo = 'postgresql://localhost/postgres?user=a&password=hidden';
ALTER SYSTEM SET pg_flo.schema_dump_conninfo = 'sslpassword=hidden';
ALTER SYSTEM SET pg_flo.nats_inbox_prefix = '_INBOX.>';
ALTER SYSTEM SET pg_flo.nats_inbox_prefix = '';
ALTER SYSTEM SET pg_flo.nats_inbox_prefix = 'a..b';
ALTER SYSTEM SET pg_flo.nats_inbox_prefix = 'a234567890123456789012345678901234567890';
-- and these are fine
ALTER SYSTEM SET pg_flo.nats_url = 'nats://a:4222, tls://b.example:4223/,c,nats://[::1]:4222,10.0.0.1';
ALTER SYSTEM SET pg_flo.nats_url = '';
ALTER SYSTEM SET pg_flo.webhook_allow = 'https://a.example/hook?to=a@b';
ALTER SYSTEM SET pg_flo.schema_dump_conninfo = 'postgresql://postgres@localhost/postgres?passfile=/x';
ALTER SYSTEM SET pg_flo.schema_dump_conninfo = 'user=postgres passfile=/x/password';
ALTER SYSTEM SET pg_flo.nats_inbox_prefix = '_INBOX_of-this.server';
ALTER SYSTEM RESET pg_flo.nats_inbox_prefix;
ALTER SYSTEM RESET pg_flo.nats_url;
ALTER SYSTEM RESET pg_flo.webhook_allow;
ALTER SYSTEM RESET pg_flo.schema_dump_conninfo;
