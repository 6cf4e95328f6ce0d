/*
 * event_tables.c
 *		What the sinks that send events need from the tables of schema flo, and
 *		the checks of their options.
 *
 * Promises: a worker that cannot work because of what it is told is refused
 * when it is told so, with a hint; secrets go into flo.secrets and nowhere
 * else, and no message repeats one.
 */
#include "postgres.h"

#include <ctype.h>
#include <unistd.h>

#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "conf/commit.h"
#include "conf/endpoint.h"
#include "conf/event_tables.h"
#include "conf/sink_kinds.h"
#include "conf/sql.h"
#include "conf/store.h"
#include "core/arguments.h"
#include "core/files.h"
#include "core/roles.h"
#include "core/text.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define SECRET_MAX 1024

/* --- secrets among options ----------------------------------------------- */

static Jsonb *
without_key(Jsonb *options, const char *key)
{
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(options),
											  CStringGetTextDatum(key)));
}

static char *
check_headers(const char *option, const JsonbValue *value)
{
	static const char *const hint =
		"The value is an object of strings, such as {\"Authorization\": \"Bearer ...\"}.";
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	text;
	Jsonb	   *object;

	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		flo_conf_refuse(psprintf("invalid value for option \"%s\"", option), hint);
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		const char *problem;

		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &text, true);
		if (text.type != jbvString)
			flo_conf_refuse(psprintf("invalid value for option \"%s\"", option), hint);
		problem = flo_header_problem(key.val.string.val, key.val.string.len,
									 text.val.string.val, text.val.string.len);
		if (problem != NULL)
			flo_conf_refuse(psprintf("invalid header in option \"%s\": %s", option, problem), hint);
	}
	object = JsonbValueToJsonb(unconstify(JsonbValue *, value));
	return JsonbToCString(NULL, &object->root, VARSIZE(object));
}

static char *
check_secret(const char *option, const JsonbValue *value)
{
	if (value->type != jbvString || value->val.string.len == 0 ||
		value->val.string.len > SECRET_MAX)
		flo_conf_refuse(psprintf("invalid value for option \"%s\"", option),
						psprintf("The value is a string of 1 to %d bytes.", SECRET_MAX));
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/* {"user": ..., "password": ...} or {"api_key": ...} */
static char *
check_auth(const char *option, const JsonbValue *value)
{
	static const char *const members[] = {"user", "password", "api_key"};
	JsonbContainer *object = value->type == jbvBinary ? value->val.binary.data : NULL;
	int			given = 0;
	Jsonb	   *jsonb;

	if (object != NULL && JsonContainerIsObject(object))
	{
		for (int i = 0; i < lengthof(members); i++)
		{
			JsonbValue	text;

			if (getKeyJsonValueFromContainer(object, members[i], strlen(members[i]), &text) == NULL)
				continue;
			given |= 1 << i;
			if (text.type != jbvString || text.val.string.len == 0 ||
				text.val.string.len > SECRET_MAX ||
				(i == 0 && memchr(text.val.string.val, ':', text.val.string.len) != NULL) ||
				(i == 2 && flo_header_problem("A", 1, text.val.string.val,
											  text.val.string.len) != NULL))
				given = -1;
		}
	}
	if ((given != 3 && given != 4) || JsonContainerSize(object) != (given == 3 ? 2 : 1))
		flo_conf_refuse(psprintf("invalid value for option \"%s\"", option),
						"The value is an object {\"user\": ..., \"password\": ...} or {\"api_key\": ...} of strings.");
	jsonb = JsonbValueToJsonb(unconstify(JsonbValue *, value));
	return JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
}

/* Those of conf/options.c with the type OPTION_SECRET, and what text is kept of each */
static const struct
{
	const char *key;
	FloSinkKind sink;
	char	   *(*check) (const char *option, const JsonbValue *value);
}			secret_options[] =

{
	{"headers", FLO_SINK_WEBHOOK, check_headers},
	{"secret", FLO_SINK_WEBHOOK, check_secret},
	{"sasl_password", FLO_SINK_KAFKA, check_secret},
	{"headers", FLO_SINK_SEARCH, check_headers},
	{"auth", FLO_SINK_SEARCH, check_auth},
};

Jsonb *
flo_secrets_take(Jsonb *options, FloSinkKind sink, FloSecrets *secrets)
{
	memset(secrets, 0, sizeof(FloSecrets));
	if (!JB_ROOT_IS_OBJECT(options))
		return options;
	for (int i = 0; i < lengthof(secret_options); i++)
	{
		const char *key = secret_options[i].key;
		FloSecret  *secret = &secrets->given[secrets->count];
		JsonbValue	value;

		if (secret_options[i].sink != sink ||
			getKeyJsonValueFromContainer(&options->root, key, strlen(key), &value) == NULL)
			continue;
		secret->key = key;
		if (value.type != jbvNull)
			secret->value = secret_options[i].check(key, &value);
		secrets->count++;
		options = without_key(options, key);
	}
	return options;
}

/* --- checks of options --------------------------------------------------- */

static void
check_directory(const char *directory, Oid role)
{
	char	   *problem;
	int			fd;

	if (directory == NULL)
		flo_conf_refuse("a worker with sink \"file\" needs the option \"directory\"",
						"The value is the absolute path of an existing directory on the server.");
	if (!is_absolute_path(directory))
		flo_conf_refuse("option \"directory\" must be an absolute path", NULL);
	if (!flo_role_has_rights_of(role, ROLE_PG_WRITE_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to write files on the server"),
				 errhint("Only roles with privileges of the role pg_write_server_files may do so.")));
	fd = flo_files_open_directory(directory, &problem);
	if (fd < 0)
		flo_conf_refuse(psprintf("could not use directory \"%s\": %s", directory, problem),
						"It must exist on the server, with no symbolic link on the way, belong to the server's operating system user or to root, and not be writable for everybody.");
	close(fd);
	if (access(directory, R_OK | W_OK | X_OK) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("could not use directory \"%s\": %m", directory),
				 errhint("The server's operating system user must be able to write there.")));
}

static void
check_file_option(const char *option, const char *path, bool secret, Oid role)
{
	if (path == NULL)
		return;
	if (!is_absolute_path(path))
		flo_conf_refuse(psprintf("option \"%s\" must be an absolute path", option), NULL);
	if (!flo_role_has_rights_of(role, ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to read files on the server"),
				 errhint("Only roles with privileges of the role pg_read_server_files may use the option \"%s\".", option)));
	flo_files_check(path, option, secret, ERRCODE_INVALID_PARAMETER_VALUE);
}

/* Will the worker have it? */
static bool
has_secret(const FloWorkerSpec *spec, const FloSecrets *secrets, const char *key)
{
	for (int i = 0; i < secrets->count; i++)
		if (strcmp(secrets->given[i].key, key) == 0)
			return secrets->given[i].value != NULL;
	return flo_secret_read(spec->group, spec->worker, key) != NULL;
}

static bool
sends_over_http(FloSinkKind sink)
{
	return sink == FLO_SINK_WEBHOOK || sink == FLO_SINK_SEARCH;
}

static void
check_endpoint(const FloWorkerSpec *spec, const FloSecrets *secrets, Oid role)
{
	const FloWorkerOptions *options = &spec->options;

	if (options->url != NULL)
	{
		flo_url_check(options->url);
		flo_url_check_allowed(options->url, role);
	}
	if (options->headers_file != NULL && has_secret(spec, secrets, "headers"))
		flo_conf_refuse("options \"headers\" and \"headers_file\" exclude each other", NULL);
	if (options->secret_file != NULL && has_secret(spec, secrets, "secret"))
		flo_conf_refuse("options \"secret\" and \"secret_file\" exclude each other", NULL);
	check_file_option("headers_file", options->headers_file, true, role);
	check_file_option("secret_file", options->secret_file, true, role);
}

/* Options that say nothing unless another one has a value that they go with */
static void
refuse_without(const char *option, const char *value, const char *other)
{
	if (value != NULL)
		flo_conf_refuse(psprintf("option \"%s\" needs a security_protocol with %s", option, other), NULL);
}

static void
check_kafka_security(const FloWorkerSpec *spec, const FloSecrets *secrets)
{
	const FloWorkerOptions *options = &spec->options;
	bool		has_password = has_secret(spec, secrets, "sasl_password");

	if (!flo_security_has_tls(options->security_protocol))
	{
		refuse_without("ssl_ca_file", options->ssl_ca_file, "ssl");
		refuse_without("ssl_certificate_file", options->ssl_certificate_file, "ssl");
		refuse_without("ssl_key_file", options->ssl_key_file, "ssl");
	}
	if ((options->ssl_certificate_file == NULL) != (options->ssl_key_file == NULL))
		flo_conf_refuse("options \"ssl_certificate_file\" and \"ssl_key_file\" go together", NULL);
	if (has_password && options->sasl_password_file != NULL)
		flo_conf_refuse("options \"sasl_password\" and \"sasl_password_file\" exclude each other", NULL);
	if (!flo_security_has_sasl(options->security_protocol))
	{
		refuse_without("sasl_username", options->sasl_username, "sasl");
		refuse_without("sasl_password", has_password ? "" : NULL, "sasl");
		refuse_without("sasl_password_file", options->sasl_password_file, "sasl");
	}
	else if (options->sasl_username == NULL ||
			 (!has_password && options->sasl_password_file == NULL))
		flo_conf_refuse("a security_protocol with sasl needs the options \"sasl_username\" and \"sasl_password\"",
						"Instead of sasl_password, sasl_password_file names a file of the server that holds it.");
}

static void
check_kafka(const FloWorkerSpec *spec, const FloSecrets *secrets, Oid role)
{
	const FloWorkerOptions *options = &spec->options;

	flo_sink_require_module(spec->sink);
	if (options->brokers == NULL)
		flo_conf_refuse("a worker with sink \"kafka\" needs the option \"brokers\"",
						"The value is a list such as \"kafka1.example.com:9092,kafka2.example.com:9092\".");
	flo_brokers_check(options->brokers);
	flo_brokers_check_allowed(options->brokers, role);
	check_kafka_security(spec, secrets);
	check_file_option("ssl_ca_file", options->ssl_ca_file, false, role);
	check_file_option("ssl_certificate_file", options->ssl_certificate_file, false, role);
	check_file_option("ssl_key_file", options->ssl_key_file, true, role);
	check_file_option("sasl_password_file", options->sasl_password_file, true, role);
}

/* May it be a URI-reference?  Nothing that must be escaped in one, or in a header */
static bool
is_uri_reference(const char *text)
{
	static const char *const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		"0123456789-._~:/?#[]@!$&'()*+,;=";

	for (const char *c = text; *c != '\0'; c++)
	{
		if (*c == '%' && isxdigit((unsigned char) c[1]) && isxdigit((unsigned char) c[2]))
			c += 2;
		else if (strchr(allowed, *c) == NULL)
			return false;
	}
	return strlen(text) <= FLO_URL_MAX;
}

static void
check_format(const FloWorkerOptions *options)
{
	bool		binary = options->cloudevents_mode == FLO_CLOUDEVENTS_BINARY;

	if (options->format != FLO_FORMAT_CLOUDEVENTS &&
		(binary || options->cloudevents_source != NULL))
		flo_conf_refuse(psprintf("option \"%s\" is for the format \"cloudevents\"",
								 binary ? "cloudevents_mode" : "cloudevents_source"),
						"Set the option format, too.");
	if (options->cloudevents_source != NULL && !is_uri_reference(options->cloudevents_source))
		flo_conf_refuse("invalid value for option \"cloudevents_source\"",
						psprintf("The value is a URI or the path of one, such as \"https://example.com/orders\", of at most %d bytes.",
								 FLO_URL_MAX));
	if (binary && options->events_per_request > 1)
		flo_conf_refuse("cloudevents_mode \"binary\" has one event in a request",
						"Leave out events_per_request, or choose the mode structured.");
}

void
flo_event_tables_check(const FloWorkerSpec *spec, const FloSecrets *secrets, Oid role)
{
	if (spec->sink == FLO_SINK_FILE)
		check_directory(spec->options.directory, role);
	else if (sends_over_http(spec->sink))
		check_endpoint(spec, secrets, role);
	else if (spec->sink == FLO_SINK_KAFKA)
		check_kafka(spec, secrets, role);
	if (!sends_over_http(spec->sink) && spec->options.on_error == FLO_ON_ERROR_DEAD_LETTER)
		flo_conf_refuse("on_error \"dead_letter\" is for webhook and search workers",
						"What keeps a file from being written is no fault of an event; choose retry or stop.");
	check_format(&spec->options);
}

void
flo_event_tables_check_start(const FloWorkerSpec *spec)
{
	if (spec->sink == FLO_SINK_WEBHOOK && spec->options.url == NULL &&
		flo_subscriptions(spec->group, spec->worker) == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("worker \"%s\" of group \"%s\" has no endpoint to send events to",
						spec->worker, spec->group),
				 errhint("Set its option url, or insert into flo.webhook_subscriptions.")));
}

/* --- tables -------------------------------------------------------------- */

static void
save_secret(const char *group, const char *worker, const char *key, const char *value)
{
	if (value == NULL)
		flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.secrets WHERE group_name = $1 AND worker_name = $2 AND key = $3",
					3, group, worker, key);
	else
		flo_sql_run(SPI_OK_INSERT, "INSERT INTO flo.secrets (group_name, worker_name, key, value) VALUES ($1, $2, $3, $4)"
					" ON CONFLICT (group_name, worker_name, key) DO UPDATE SET value = excluded.value",
					4, group, worker, key, value);
}

void
flo_secrets_save(const char *group, const char *worker, const FloSecrets *secrets)
{
	FloSqlSession sql;

	if (secrets->count == 0)
		return;
	flo_sql_begin(&sql);
	for (int i = 0; i < secrets->count; i++)
		save_secret(group, worker, secrets->given[i].key, secrets->given[i].value);
	flo_sql_end(&sql);
}

char *
flo_secret_read(const char *group, const char *worker, const char *key)
{
	FloSqlSession sql;
	char	   *value = NULL;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_SELECT, "SELECT value FROM flo.secrets WHERE group_name = $1 AND worker_name = $2 AND key = $3",
					3, group, worker, key) > 0)
		value = flo_sql_text(&sql, 0, 1);
	flo_sql_end(&sql);
	return value;
}

List *
flo_subscriptions(const char *group, const char *worker)
{
	FloSqlSession sql;
	List	   *result = NIL;
	uint64		count;

	flo_sql_begin(&sql);
	count = flo_sql_run(SPI_OK_SELECT, "SELECT url, schema_name, table_name, operations, author::oid FROM flo.webhook_subscriptions"
						" WHERE group_name = $1 AND (worker_name IS NULL OR worker_name = $2) AND enabled"
						" ORDER BY id",
						2, group, worker);
	for (uint64 i = 0; i < count; i++)
	{
		FloSubscription *one = MemoryContextAllocZero(sql.caller, sizeof(FloSubscription));
		MemoryContext old;
		bool		any_operation;

		one->url = flo_sql_text(&sql, i, 1);
		one->schema = flo_sql_text(&sql, i, 2);
		one->table = flo_sql_text(&sql, i, 3);
		one->operations = flo_sql_list(&sql, i, 4, &any_operation);
		one->author = flo_sql_oid(i, 5);
		old = MemoryContextSwitchTo(sql.caller);
		result = lappend(result, one);
		MemoryContextSwitchTo(old);
	}
	flo_sql_end(&sql);
	return result;
}

/* --- dead letters -------------------------------------------------------- */

/* The event is UTF-8 in every database; tables hold the server's encoding */
static char *
recode(char *text, bool to_server)
{
	return to_server ? pg_any_to_server(text, strlen(text), PG_UTF8)
		: pg_server_to_any(text, strlen(text), PG_UTF8);
}

static char *
time_as_text(TimestampTz at)
{
	return pstrdup(timestamptz_to_str(at));
}

void
flo_dead_letter_add(const char *group, const char *worker, const FloDeadLetter *letter)
{
	flo_sql_do(SPI_OK_INSERT, "INSERT INTO flo.dead_letters (group_name, worker_name, url, event_id, lsn, event, error,"
			   " attempts, first_attempt_at, last_attempt_at, headers)"
			   " VALUES ($1, $2, $3, $4, $5::pg_lsn, $6::json, $7, $8::int, $9::timestamptz, $10::timestamptz,"
			   " string_to_array(rtrim($11, E'\\n'), E'\\n'))"
			   " ON CONFLICT (group_name, worker_name, url, event_id) DO UPDATE SET error = excluded.error,"
			   " attempts = dead_letters.attempts + excluded.attempts, last_attempt_at = excluded.last_attempt_at",
			   11, group, worker, letter->url, letter->event_id,
			   flo_text_of_lsn(letter->lsn), recode(letter->event, true), letter->error,
			   psprintf("%d", letter->attempts), time_as_text(letter->first_attempt),
			   time_as_text(letter->last_attempt), letter->headers);
}

FloDeadLetter *
flo_dead_letter_wanted(const char *group, const char *worker)
{
	FloSqlSession sql;
	FloDeadLetter *letter = NULL;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_SELECT, "SELECT id, url, event_id, event, array_to_string(headers, E'\\n') FROM flo.dead_letters"
					" WHERE group_name = $1 AND worker_name = $2 AND redrive_requested_at IS NOT NULL"
					" ORDER BY id LIMIT 1", 2, group, worker) > 0)
	{
		letter = MemoryContextAllocZero(sql.caller, sizeof(FloDeadLetter));
		letter->id = strtoi64(flo_sql_text(&sql, 0, 1), NULL, 10);
		letter->url = flo_sql_text(&sql, 0, 2);
		letter->event_id = flo_sql_text(&sql, 0, 3);
		letter->event = flo_sql_text(&sql, 0, 4);
		letter->headers = flo_sql_text(&sql, 0, 5);
	}
	flo_sql_end(&sql);
	if (letter != NULL)
		letter->event = recode(letter->event, false);
	return letter;
}

void
flo_dead_letter_done(int64 id)
{
	flo_sql_do(SPI_OK_DELETE, "DELETE FROM flo.dead_letters WHERE id = $1::bigint",
			   1, flo_text_of_int64(id));
}

void
flo_dead_letter_failed(int64 id, const char *error, int attempts)
{
	flo_sql_do(SPI_OK_UPDATE,
			   "UPDATE flo.dead_letters SET error = $2, attempts = attempts + $3::int,"
			   " last_attempt_at = clock_timestamp(), redrive_requested_at = NULL WHERE id = $1::bigint",
			   3, flo_text_of_int64(id), error, psprintf("%d", attempts));
}
