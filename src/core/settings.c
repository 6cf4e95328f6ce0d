/*
 * settings.c
 *		The pg_flo.* configuration parameters.
 *
 * All but pg_flo.max_workers can be changed by a reload.  Passwords and tokens
 * are kept out of sight altogether: the server would write the new value of a
 * changed parameter to its log, so the parameter itself always holds an empty
 * string and the secret travels beside it, in the "extra" data of the check
 * and assign hooks.  Settings that are shown, and logged when they change, take
 * no secret: URLs with a user or password in them, and connection strings with
 * a password, are refused without being repeated.
 */
#include "postgres.h"

#include <limits.h>

#include "core/compat_process.h"
#include "core/injection_point.h"
#include "core/settings.h"
#include "miscadmin.h"
#include "utils/guc.h"

bool		flo_enabled = true;
int			flo_max_workers = 16;
int			flo_restart_interval = 10000;

char	   *flo_nats_url;
char	   *flo_nats_user;
char	   *flo_nats_password = "";
char	   *flo_nats_password_file;
char	   *flo_nats_token = "";
char	   *flo_nats_credentials_file;
char	   *flo_nats_nkey;
char	   *flo_nats_nkey_file;
bool		flo_nats_tls = false;
char	   *flo_nats_tls_ca_file;
char	   *flo_nats_tls_cert_file;
char	   *flo_nats_tls_key_file;
char	   *flo_nats_inbox_prefix;

int			flo_stream_replicas = 1;
int			flo_stream_max_age = 0;
int			flo_stream_max_bytes = 0;
int			flo_broker_sync_interval = 150;
int			flo_heartbeat_interval = 1000;
int			flo_restart_distance = 64;
int			flo_table_memory = 32 * 1024;
int			flo_row_writer = FLO_ROW_WRITER_ON;
int			flo_rule_budget = 5000;
int			flo_ddl_log_keep = 30 * 24 * 60;
int			flo_dead_letters_keep = 0;
int			flo_events_keep = 7 * 24 * 60;

char	   *flo_webhook_allow;
char	   *flo_kafka_allow;

char	   *flo_schema_dump_conninfo;
char	   *flo_pg_dump_path;

/* What the server believes the secrets to be: always the empty string */
static char *shown_password;
static char *shown_token;

/* Move a secret out of the parameter's value into its extra data */
static bool
check_secret(char **newval, void **extra, GucSource source)
{
	const char *secret = *newval ? *newval : "";
	size_t		size = strlen(secret) + 1;
	char	   *kept = flo_compat_guc_malloc(size);
	char	   *blank;

	if (kept == NULL)
		return false;
	memcpy(kept, secret, size);

	if (*newval != NULL && (*newval)[0] != '\0')
	{
		blank = flo_compat_guc_malloc(1);
		if (blank == NULL)
		{
			flo_compat_guc_free(kept);
			return false;
		}
		blank[0] = '\0';
		flo_compat_guc_free(*newval);
		*newval = blank;
	}

	*extra = kept;
	return true;
}

static void
assign_password(const char *newval, void *extra)
{
	flo_nats_password = extra ? extra : "";
}

static void
assign_token(const char *newval, void *extra)
{
	flo_nats_token = extra ? extra : "";
}

static const char *
show_password(void)
{
	return flo_nats_password[0] ? "********" : "";
}

static const char *
show_token(void)
{
	return flo_nats_token[0] ? "********" : "";
}

/* --- settings that must hold no secret ----------------------------------- */

/*
 * Refuse a value without repeating it, as the server's own message would.  At
 * server start a refused value is replaced by the default, which is a broker
 * that nobody has named: there it becomes empty instead, and nothing connects.
 */
static bool
refuse(char **newval, const char *name, const char *problem, const char *hint)
{
	if (process_shared_preload_libraries_in_progress)
	{
		char	   *blank = flo_compat_guc_malloc(1);

		if (blank == NULL)
			return false;
		blank[0] = '\0';
		flo_compat_guc_free(*newval);
		*newval = blank;
		ereport(WARNING,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for parameter \"%s\": %s", name, problem),
				 errdetail("It counts as empty."),
				 errhint("%s", hint)));
		return true;
	}
	GUC_check_errcode(ERRCODE_INVALID_PARAMETER_VALUE);
	GUC_check_errmsg("invalid value for parameter \"%s\": %s", name, problem);
	GUC_check_errhint("%s", hint);
	return false;
}

/* One of the servers, without blanks around it: NULL, or what is wrong with it */
static const char *
server_problem(const char *url, size_t len)
{
	const char *end = url + len;
	const char *host = url;
	const char *port;

	if (memchr(url, '@', len) != NULL)
		return "it holds a user, password or token";
	for (const char *at = url; at + 3 <= end; at++)
		if (strncmp(at, "://", 3) == 0)
		{
			if (!(at - url == 4 && strncmp(url, "nats", 4) == 0) &&
				!(at - url == 3 && strncmp(url, "tls", 3) == 0))
				return "its scheme is not nats or tls";
			host = at + 3;
			break;
		}
	if (end > host && end[-1] == '/')
		end--;
	for (const char *at = host; at < end; at++)
		if (strchr("/?#", *at) != NULL)
			return "there is something behind its host and port";
	if (host < end && *host == '[')
	{
		port = host + 1 + strspn(host + 1, "0123456789abcdefABCDEF:.%");
		if (port >= end || *port != ']' || port == host + 1)
			return "its host is not a name or an address";
		port++;
	}
	else
	{
		port = host + strspn(host,
							 "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._");
		if (port > end)
			port = end;
		if (port == host)
			return "its host is not a name or an address";
	}
	if (port == end)
		return NULL;
	if (*port != ':')
		return "its host is not a name or an address";
	port++;
	if (end - port < 1 || end - port > 5 || strspn(port, "0123456789") < end - port ||
		atoi(port) < 1 || atoi(port) > 65535)
		return "its port is not a number between 1 and 65535";
	return NULL;
}

static bool
check_nats_url(char **newval, void **extra, GucSource source)
{
	const char *at = *newval != NULL ? *newval : "";

	/* empty: nothing connects */
	while (*at != '\0')
	{
		size_t		len = strcspn(at, ",");
		size_t		before = strspn(at, " \t");
		size_t		end = len;
		const char *problem;

		while (end > before && (at[end - 1] == ' ' || at[end - 1] == '\t'))
			end--;
		problem = before >= end ? "one of its servers is empty" :
			server_problem(at + before, end - before);
		if (problem != NULL)
			return refuse(newval, "pg_flo.nats_url", problem,
						  "It is like \"nats://host:4222\", with commas between the servers of a cluster. User and password belong into pg_flo.nats_user and pg_flo.nats_password_file, a token into pg_flo.nats_token.");
		at += len;
		if (*at == ',' && *++at == '\0')
			return refuse(newval, "pg_flo.nats_url", "one of its servers is empty",
						  "Remove the comma at its end.");
	}
	return true;
}

/* A subject without wildcards; what follows has to fit as well */
static bool
check_inbox_prefix(char **newval, void **extra, GucSource source)
{
	const char *prefix = *newval != NULL ? *newval : "";
	size_t		len = strlen(prefix);

	if (len > 0 && len < FLO_NATS_INBOX_PREFIX_SIZE &&
		strspn(prefix,
			   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == len &&
		prefix[0] != '.' && prefix[len - 1] != '.' && strstr(prefix, "..") == NULL)
		return true;
	GUC_check_errcode(ERRCODE_INVALID_PARAMETER_VALUE);
	GUC_check_errdetail("It is a subject of NATS of 1 to %d letters, digits, dots and the characters _ and -.",
						FLO_NATS_INBOX_PREFIX_SIZE - 1);
	return false;
}

/* The URLs are judged when they are used: conf/endpoint.c */
static bool
check_webhook_allow(char **newval, void **extra, GucSource source)
{
	const char *at = *newval != NULL ? *newval : "";

	while ((at = strstr(at, "://")) != NULL)
	{
		size_t		len = strcspn(at += 3, "/?#, ");

		if (memchr(at, '@', len) != NULL)
			return refuse(newval, "pg_flo.webhook_allow", "a prefix holds a user name or password",
						  "Name scheme, host and path only; secrets belong into the worker's options headers and secret.");
	}
	return true;
}

/* Does a connection string, of either kind, hold a password? */
static bool
holds_password(const char *conninfo)
{
	static const char *const keywords[] = {"password", "sslpassword", "oauth_client_secret"};
	const char *user = strstr(conninfo, "://");
	const char *end = user != NULL ? user + 3 + strcspn(user + 3, "/?") : NULL;

	if (user != NULL)
	{
		const char *at = memchr(user + 3, '@', end - user - 3);

		if (at != NULL && memchr(user + 3, ':', at - user - 3) != NULL)
			return true;
	}
	for (int i = 0; i < lengthof(keywords); i++)
	{
		for (const char *at = conninfo; (at = strstr(at, keywords[i])) != NULL; at++)
		{
			const char *after = at + strlen(keywords[i]);

			if (at > conninfo && strchr(" \t\n?&", at[-1]) == NULL)
				continue;
			if (after[strspn(after, " \t\n")] == '=')
				return true;
		}
	}
	return false;
}

static bool
check_conninfo(char **newval, void **extra, GucSource source)
{
	if (*newval != NULL && holds_password(*newval))
		return refuse(newval, "pg_flo.schema_dump_conninfo", "it holds a password",
					  "Write the password into a file and name that: \"passfile=...\".");
	return true;
}

/* --- definitions --------------------------------------------------------- */

static void
define_checked_text(const char *name, const char *description, char **variable,
					const char *initial, int flags, GucStringCheckHook check)
{
	DefineCustomStringVariable(name, description, NULL, variable, initial,
							   PGC_SIGHUP, flags, check, NULL, NULL);
}

static void
define_text(const char *name, const char *description, char **variable,
			const char *initial, int flags)
{
	define_checked_text(name, description, variable, initial, flags, NULL);
}

static void
define_number(const char *name, const char *description, int *variable,
			  int initial, int min, int max, int unit)
{
	DefineCustomIntVariable(name, description, NULL, variable, initial, min, max,
							PGC_SIGHUP, unit, NULL, NULL, NULL);
}

static void
define_processes(void)
{
	DefineCustomBoolVariable("pg_flo.enabled",
							 "Starts the replicators and workers of this server.",
							 "When off, nothing is started and what runs is stopped; "
							 "meant for clones of a server.",
							 &flo_enabled, true, PGC_SIGHUP, 0, NULL, NULL, NULL);

	/* The size of shared memory: only known to a server that preloads us */
	if (process_shared_preload_libraries_in_progress)
		DefineCustomIntVariable("pg_flo.max_workers",
								"Sets how many replicators and workers can run at once.",
								NULL, &flo_max_workers, 16, 1, 1024,
								PGC_POSTMASTER, 0, NULL, NULL, NULL);

	define_number("pg_flo.restart_interval",
				  "Sets the longest pause before a failed replicator or worker is started again.",
				  &flo_restart_interval, 10000, 100, 3600 * 1000, GUC_UNIT_MS);
	define_number("pg_flo.heartbeat_interval",
				  "Sets how often an idle group reports its position to the broker.",
				  &flo_heartbeat_interval, 1000, 100, 60 * 1000, GUC_UNIT_MS);
	define_number("pg_flo.restart_distance",
				  "Sets how much WAL a replicator that starts again may have to read once more.",
				  &flo_restart_distance, 64, 1, 1024 * 1024, GUC_UNIT_MB);
	DefineCustomIntVariable("pg_flo.rule_budget",
							"Sets how long the rules of a row may work on it, all together.",
							"Past it the rule at work fails, as for any other error.",
							&flo_rule_budget, 5000, 10, 3600 * 1000,
							PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	define_number("pg_flo.table_memory",
				  "Sets how much memory a process uses to remember the tables it has seen.",
				  &flo_table_memory, 32 * 1024, 2 * 1024, 1024 * 1024, GUC_UNIT_KB);
}

static void
define_broker(void)
{
	define_checked_text("pg_flo.nats_url", "Sets the URL of the NATS server; several of a cluster are separated by commas.",
						&flo_nats_url, "nats://127.0.0.1:4222", GUC_SUPERUSER_ONLY, check_nats_url);
	define_text("pg_flo.nats_user", "Sets the user name for NATS.",
				&flo_nats_user, "", GUC_SUPERUSER_ONLY);
	DefineCustomStringVariable("pg_flo.nats_password", "Sets the password for NATS.", NULL,
							   &shown_password, "", PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY | GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE,
							   check_secret, assign_password, show_password);
	define_text("pg_flo.nats_password_file", "Sets the file that holds the password for NATS.",
				&flo_nats_password_file, "", GUC_SUPERUSER_ONLY);
	DefineCustomStringVariable("pg_flo.nats_token", "Sets the authentication token for NATS.", NULL,
							   &shown_token, "", PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY | GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE,
							   check_secret, assign_token, show_token);
	define_text("pg_flo.nats_credentials_file", "Sets the NATS credentials file (JWT and seed).",
				&flo_nats_credentials_file, "", GUC_SUPERUSER_ONLY);
	define_text("pg_flo.nats_nkey", "Sets the public NKey (U...) of the NATS user.",
				&flo_nats_nkey, "", GUC_SUPERUSER_ONLY);
	define_text("pg_flo.nats_nkey_file", "Sets the file that holds the seed of pg_flo.nats_nkey.",
				&flo_nats_nkey_file, "", GUC_SUPERUSER_ONLY);

	DefineCustomBoolVariable("pg_flo.nats_tls", "Requires TLS for connections to NATS.", NULL,
							 &flo_nats_tls, false, PGC_SIGHUP, 0, NULL, NULL, NULL);
	define_text("pg_flo.nats_tls_ca_file",
				"Sets the file of certificates that NATS servers are verified with.",
				&flo_nats_tls_ca_file, "", GUC_SUPERUSER_ONLY);
	define_text("pg_flo.nats_tls_cert_file", "Sets the client certificate for NATS.",
				&flo_nats_tls_cert_file, "", GUC_SUPERUSER_ONLY);
	define_text("pg_flo.nats_tls_key_file",
				"Sets the private key of the client certificate for NATS.",
				&flo_nats_tls_key_file, "", GUC_SUPERUSER_ONLY);
	define_checked_text("pg_flo.nats_inbox_prefix",
						"Sets the subject below which NATS answers this server; one of its own for each NATS user keeps others from listening.",
						&flo_nats_inbox_prefix, "_INBOX", 0, check_inbox_prefix);
}

static void
define_stream(void)
{
	define_number("pg_flo.stream_replicas",
				  "Sets how many servers of a NATS cluster keep a copy of each stream.",
				  &flo_stream_replicas, 1, 1, 5, 0);
	define_number("pg_flo.stream_max_age",
				  "Sets the age at which NATS discards messages, applied or not; 0 means never.",
				  &flo_stream_max_age, 0, 0, INT_MAX, GUC_UNIT_S);
	define_number("pg_flo.stream_max_bytes",
				  "Sets the size at which a stream is full and the source waits; 0 means the broker's own limit.",
				  &flo_stream_max_bytes, 0, 0, INT_MAX, GUC_UNIT_MB);
	define_number("pg_flo.broker_sync_interval",
				  "Sets how long NATS may take to flush acknowledged messages to disk; 0 when it flushes at once.",
				  &flo_broker_sync_interval, 150, 0, 24 * 3600, GUC_UNIT_S);
}

static void
define_history(void)
{
	define_number("pg_flo.ddl_log_keep",
				  "Sets how long entries of flo.ddl_log are kept; 0 means for ever.",
				  &flo_ddl_log_keep, 30 * 24 * 60, 0, INT_MAX, GUC_UNIT_MIN);
	define_number("pg_flo.dead_letters_keep",
				  "Sets how long flo.dead_letters are kept; 0 means until somebody deletes or redrives them.",
				  &flo_dead_letters_keep, 0, 0, INT_MAX, GUC_UNIT_MIN);
	define_number("pg_flo.events_keep",
				  "Sets how long flo.events are kept; 0 means for ever.",
				  &flo_events_keep, 7 * 24 * 60, 0, INT_MAX, GUC_UNIT_MIN);
}

static void
define_webhook(void)
{
	define_checked_text("pg_flo.webhook_allow",
						"Sets the URL prefixes, separated by commas, that webhook workers of roles "
						"other than superusers may send events to; empty means none.",
						&flo_webhook_allow, "", 0, check_webhook_allow);
	define_text("pg_flo.kafka_allow",
				"Sets the brokers of Kafka, host:port each and separated by commas, that workers of roles "
				"other than superusers may send events to; empty means none.",
				&flo_kafka_allow, "", 0);
}

static void
define_schema_dump(void)
{
	define_checked_text("pg_flo.schema_dump_conninfo",
						"Sets how pg_dump connects to this server for table definitions; "
						"empty means own socket, port, database and group owner.",
						&flo_schema_dump_conninfo, "", GUC_SUPERUSER_ONLY, check_conninfo);
	define_text("pg_flo.pg_dump_path",
				"Sets the path of pg_dump; empty means the one beside the server's own programs.",
				&flo_pg_dump_path, "", GUC_SUPERUSER_ONLY);
}

static void
define_tests(void)
{
	static const struct config_enum_entry modes[] = {
		{"on", FLO_ROW_WRITER_ON, false},
		{"off", FLO_ROW_WRITER_OFF, false},
		{"check", FLO_ROW_WRITER_CHECK, false},
		{NULL, 0, false}
	};

	flo_injection_point_define();
	DefineCustomEnumVariable("pg_flo.row_writer",
							 "Says whether rows are written without pgoutput where they can be, for tests of pg_flo.",
							 "With \"check\" they are written twice and compared.",
							 &flo_row_writer, FLO_ROW_WRITER_ON, modes, PGC_SIGHUP,
							 GUC_SUPERUSER_ONLY | GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE,
							 NULL, NULL, NULL);
}

/* Define all parameters.  Called once per process, from _PG_init. */
void
flo_settings_define(void)
{
	define_processes();
	define_broker();
	define_stream();
	define_history();
	define_webhook();
	define_schema_dump();
	define_tests();

	/* Loaded late, pg_flo.max_workers is unknown here but may well be set */
	if (process_shared_preload_libraries_in_progress)
		MarkGUCPrefixReserved("pg_flo");
}
