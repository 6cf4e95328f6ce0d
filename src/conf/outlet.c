/*
 * outlet.c
 *		What the sinks that send events need from the tables of schema flo, and
 *		the checks of their options.
 *
 * Promises: a worker that cannot work because of what it is told is refused
 * when it is told so, with a hint; secrets go into flo.secrets and nowhere
 * else, and no message repeats one.
 */
#include "postgres.h"

#include <unistd.h>

#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "conf/api.h"
#include "conf/endpoint.h"
#include "conf/outlet.h"
#include "conf/store.h"
#include "conf/visit.h"
#include "core/arguments.h"
#include "core/files.h"
#include "core/roles.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define SECRET_MAX 1024

PG_FUNCTION_INFO_V1(flo_redrive);
PG_FUNCTION_INFO_V1(flo_redrive_group);

/* --- secrets among options ---------------------------------------------------------- */

static Jsonb *
without_key(Jsonb *options, const char *key)
{
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(options),
											  CStringGetTextDatum(key)));
}

static char *
check_headers(const JsonbValue *value)
{
	static const char *const hint = "The value is an object of strings, such as {\"Authorization\": \"Bearer ...\"}.";
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	text;
	Jsonb	   *object;

	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		flo_conf_refuse("invalid value for option \"headers\"", hint);
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		const char *problem;

		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &text, true);
		if (text.type != jbvString)
			flo_conf_refuse("invalid value for option \"headers\"", hint);
		problem = flo_header_problem(key.val.string.val, key.val.string.len,
									 text.val.string.val, text.val.string.len);
		if (problem != NULL)
			flo_conf_refuse(psprintf("invalid header in option \"headers\": %s", problem), hint);
	}
	object = JsonbValueToJsonb(unconstify(JsonbValue *, value));
	return JsonbToCString(NULL, &object->root, VARSIZE(object));
}

static char *
check_secret(const JsonbValue *value)
{
	if (value->type != jbvString || value->val.string.len == 0 ||
		value->val.string.len > SECRET_MAX)
		flo_conf_refuse("invalid value for option \"secret\"",
			   psprintf("The value is a string of 1 to %d bytes.", SECRET_MAX));
	return pnstrdup(value->val.string.val, value->val.string.len);
}

Jsonb *
flo_secrets_take(Jsonb *options, FloSinkKind sink, FloSecrets *secrets)
{
	JsonbValue	value;

	memset(secrets, 0, sizeof(FloSecrets));
	if (sink != FLO_SINK_WEBHOOK || !JB_ROOT_IS_OBJECT(options))
		return options;
	if (getKeyJsonValueFromContainer(&options->root, "headers", strlen("headers"), &value) != NULL)
	{
		secrets->headers_given = true;
		if (value.type != jbvNull)
			secrets->headers = check_headers(&value);
		options = without_key(options, "headers");
	}
	if (getKeyJsonValueFromContainer(&options->root, "secret", strlen("secret"), &value) != NULL)
	{
		secrets->secret_given = true;
		if (value.type != jbvNull)
			secrets->secret = check_secret(&value);
		options = without_key(options, "secret");
	}
	return options;
}

/* --- checks of options ------------------------------------------------------------------ */

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
check_secret_file(const char *option, const char *path, Oid role)
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
	flo_files_check(path, option, true, ERRCODE_INVALID_PARAMETER_VALUE);
}

static bool
has_secret(const FloWorkerSpec *spec, const char *key, bool given, const char *value)
{
	return given ? value != NULL : flo_secret_read(spec->group, spec->worker, key) != NULL;
}

static void
check_webhook(const FloWorkerSpec *spec, const FloSecrets *secrets, Oid role)
{
	const FloWorkerOptions *options = &spec->options;

	if (options->url != NULL)
	{
		flo_url_check(options->url);
		flo_url_check_allowed(options->url, role);
	}
	if (options->headers_file != NULL &&
		has_secret(spec, "headers", secrets->headers_given, secrets->headers))
		flo_conf_refuse("options \"headers\" and \"headers_file\" exclude each other", NULL);
	if (options->secret_file != NULL &&
		has_secret(spec, "secret", secrets->secret_given, secrets->secret))
		flo_conf_refuse("options \"secret\" and \"secret_file\" exclude each other", NULL);
	check_secret_file("headers_file", options->headers_file, role);
	check_secret_file("secret_file", options->secret_file, role);
}

void
flo_outlet_check(const FloWorkerSpec *spec, const FloSecrets *secrets, Oid role)
{
	if (spec->sink == FLO_SINK_FILE)
		check_directory(spec->options.directory, role);
	else if (spec->sink == FLO_SINK_WEBHOOK)
		check_webhook(spec, secrets, role);
	if ((spec->sink == FLO_SINK_FILE || spec->sink == FLO_SINK_STDOUT) &&
		spec->options.on_error == FLO_ON_ERROR_DEAD_LETTER)
		flo_conf_refuse("on_error \"dead_letter\" is for webhook workers",
			   "What keeps a file from being written is no fault of an event; choose retry or stop.");
}

void
flo_outlet_check_start(const FloWorkerSpec *spec)
{
	if (spec->sink == FLO_SINK_WEBHOOK && spec->options.url == NULL &&
		flo_subscriptions(spec->group, spec->worker) == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("worker \"%s\" of group \"%s\" has no endpoint to send events to",
						spec->worker, spec->group),
				 errhint("Set its option url, or insert into flo.webhook_subscriptions.")));
}

/* --- tables ----------------------------------------------------------------------------------- */

static void
save_secret(const char *group, const char *worker, const char *key, const char *value)
{
	if (value == NULL)
		flo_visit_run(SPI_OK_DELETE, "DELETE FROM flo.secrets WHERE group_name = $1 AND worker_name = $2 AND key = $3",
			3, group, worker, key);
	else
		flo_visit_run(SPI_OK_INSERT, "INSERT INTO flo.secrets (group_name, worker_name, key, value) VALUES ($1, $2, $3, $4)"
			" ON CONFLICT (group_name, worker_name, key) DO UPDATE SET value = excluded.value",
			4, group, worker, key, value);
}

void
flo_secrets_save(const char *group, const char *worker, const FloSecrets *secrets)
{
	FloVisit	visit;

	if (!secrets->headers_given && !secrets->secret_given)
		return;
	flo_visit_begin(&visit);
	if (secrets->headers_given)
		save_secret(group, worker, "headers", secrets->headers);
	if (secrets->secret_given)
		save_secret(group, worker, "secret", secrets->secret);
	flo_visit_end(&visit);
}

char *
flo_secret_read(const char *group, const char *worker, const char *key)
{
	FloVisit	visit;
	char	   *value = NULL;

	flo_visit_begin(&visit);
	if (flo_visit_run(SPI_OK_SELECT, "SELECT value FROM flo.secrets WHERE group_name = $1 AND worker_name = $2 AND key = $3",
			3, group, worker, key) > 0)
		value = flo_visit_text(&visit, 0, 1);
	flo_visit_end(&visit);
	return value;
}

List *
flo_subscriptions(const char *group, const char *worker)
{
	FloVisit	visit;
	List	   *result = NIL;
	uint64		count;

	flo_visit_begin(&visit);
	count = flo_visit_run(SPI_OK_SELECT, "SELECT url, schema_name, table_name, operations, author::oid FROM flo.webhook_subscriptions"
				" WHERE group_name = $1 AND (worker_name IS NULL OR worker_name = $2) AND enabled"
				" ORDER BY id",
				2, group, worker);
	for (uint64 i = 0; i < count; i++)
	{
		FloSubscription *one = MemoryContextAllocZero(visit.caller, sizeof(FloSubscription));
		MemoryContext old;
		bool		any_operation;

		one->url = flo_visit_text(&visit, i, 1);
		one->schema = flo_visit_text(&visit, i, 2);
		one->table = flo_visit_text(&visit, i, 3);
		one->operations = flo_visit_list(&visit, i, 4, &any_operation);
		one->author = flo_visit_oid(i, 5);
		old = MemoryContextSwitchTo(visit.caller);
		result = lappend(result, one);
		MemoryContextSwitchTo(old);
	}
	flo_visit_end(&visit);
	return result;
}

/* --- dead letters -------------------------------------------------------------------------------- */

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
flo_letter_add(const char *group, const char *worker, const FloLetter *letter)
{
	FloVisit	visit;

	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_INSERT, "INSERT INTO flo.dead_letters (group_name, worker_name, url, event_id, lsn, event, error,"
		" attempts, first_attempt_at, last_attempt_at)"
		" VALUES ($1, $2, $3, $4, $5::pg_lsn, $6::json, $7, $8::int, $9::timestamptz, $10::timestamptz)"
		" ON CONFLICT (group_name, worker_name, url, event_id) DO UPDATE SET error = excluded.error,"
		" attempts = dead_letters.attempts + excluded.attempts, last_attempt_at = excluded.last_attempt_at",
		10, group, worker, letter->url, letter->event_id,
		psprintf("%X/%X", LSN_FORMAT_ARGS(letter->lsn)), recode(letter->event, true), letter->error,
		psprintf("%d", letter->attempts), time_as_text(letter->first_attempt),
		time_as_text(letter->last_attempt));
	flo_visit_end(&visit);
}

FloLetter *
flo_letter_wanted(const char *group, const char *worker)
{
	FloVisit	visit;
	FloLetter  *letter = NULL;

	flo_visit_begin(&visit);
	if (flo_visit_run(SPI_OK_SELECT, "SELECT id, url, event_id, event FROM flo.dead_letters"
			" WHERE group_name = $1 AND worker_name = $2 AND redrive_requested_at IS NOT NULL"
			" ORDER BY id LIMIT 1", 2, group, worker) > 0)
	{
		letter = MemoryContextAllocZero(visit.caller, sizeof(FloLetter));
		letter->id = strtoi64(flo_visit_text(&visit, 0, 1), NULL, 10);
		letter->url = flo_visit_text(&visit, 0, 2);
		letter->event_id = flo_visit_text(&visit, 0, 3);
		letter->event = flo_visit_text(&visit, 0, 4);
	}
	flo_visit_end(&visit);
	if (letter != NULL)
		letter->event = recode(letter->event, false);
	return letter;
}

void
flo_letter_done(int64 id)
{
	FloVisit	visit;

	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_DELETE, "DELETE FROM flo.dead_letters WHERE id = $1::bigint", 1, flo_text_of_int64(id));
	flo_visit_end(&visit);
}

void
flo_letter_failed(int64 id, const char *error, int attempts)
{
	FloVisit	visit;

	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_UPDATE, "UPDATE flo.dead_letters SET error = $2, attempts = attempts + $3::int,"
		" last_attempt_at = clock_timestamp(), redrive_requested_at = NULL WHERE id = $1::bigint",
		3, flo_text_of_int64(id), error, psprintf("%d", attempts));
	flo_visit_end(&visit);
}

/* Workers look after their letters when this table changes, as if it were configuration */
static void
tell_workers(void)
{
	Oid			schema = get_namespace_oid("flo", false);

	CacheInvalidateRelcacheByRelid(get_relname_relid("dead_letters", schema));
}

/* Ask for the letters that a condition chooses, oldest first; their number */
static uint64
request(const char *condition, const char *argument)
{
	FloVisit	visit;
	uint64		count;

	flo_visit_begin(&visit);
	count = flo_visit_run(SPI_OK_UPDATE, psprintf("UPDATE flo.dead_letters SET redrive_requested_at = now() WHERE %s", condition),
				1, argument);
	flo_visit_end(&visit);
	tell_workers();
	return count;
}

static void
warn_if_stopped(const char *group, const char *worker)
{
	FloWorkerSpec *spec = flo_store_worker(group, worker);

	if (spec != NULL && !spec->started)
		ereport(NOTICE,
				(errmsg("worker \"%s\" of group \"%s\" is stopped", worker, group),
				 errdetail("It sends its letters again when it is started.")));
}

Datum
flo_redrive(PG_FUNCTION_ARGS)
{
	FloVisit	visit;
	char	   *id;
	char	   *group = NULL;
	char	   *worker = NULL;

	flo_argument_require(fcinfo, 0, "id");
	id = psprintf(INT64_FORMAT, PG_GETARG_INT64(0));
	flo_visit_begin(&visit);
	if (flo_visit_run(SPI_OK_SELECT, "SELECT group_name, worker_name FROM flo.dead_letters WHERE id = $1::bigint", 1, id) > 0)
	{
		group = flo_visit_text(&visit, 0, 1);
		worker = flo_visit_text(&visit, 0, 2);
	}
	flo_visit_end(&visit);
	if (group == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no dead letter %s", id),
				 errhint("flo.dead_letters shows those of your workers.")));
	flo_conf_require_member(group, worker);
	(void) request("id = $1::bigint", id);
	warn_if_stopped(group, worker);
	PG_RETURN_VOID();
}

Datum
flo_redrive_group(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	ListCell   *lc;
	bool		found = false;

	flo_conf_require_group(group);
	foreach(lc, flo_store_members(group))
	{
		FloMemberSpec *member = lfirst(lc);

		if (member->is_replicator || member->sink != FLO_SINK_WEBHOOK)
			continue;
		flo_conf_require_member(group, member->member);
		warn_if_stopped(group, member->member);
		found = true;
	}
	/* without such a worker there are no letters, and nobody was asked for his rights */
	PG_RETURN_INT64(found ? request("group_name = $1", group) : 0);
}
