/*
 * agent_cutover.c
 *		Requests for a cut-over, committed at once whatever becomes of the caller.
 */
#include "postgres.h"

#include "conf/sql.h"
#include "core/names.h"
#include "process/agent.h"
#include "process/agent_cutover.h"

/* --- in the session ------------------------------------------------------ */

static void
append_text(StringInfo buf, const char *key, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfo(buf, ",\"%s\":", key);
	flo_json_append_string(buf, value);
}

static bool
ask(const char *operation, const char *arguments)
{
	int64		done = 0;

	return flo_json_get_int64(flo_agent_call_here(operation, arguments), "done", &done) &&
		done != 0;
}

bool
flo_cutover_request(const FloCutover *c)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "{\"max_lag\":" INT64_FORMAT ",\"timeout\":" INT64_FORMAT ",\"dry_run\":%d,\"compares\":%d",
					 c->max_lag, c->timeout, c->dry_run, c->compares);
	append_text(&buf, "group", c->group);
	append_text(&buf, "reverse", c->reverse);
	append_text(&buf, "consumer", c->consumer);
	appendStringInfoChar(&buf, '}');
	return ask("request_cutover", buf.data);
}

bool
flo_cutover_withdraw(const char *group)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"group\":");
	flo_json_append_string(&buf, group);
	appendStringInfoChar(&buf, '}');
	return ask("withdraw_cutover", buf.data);
}

/* --- in the agent -------------------------------------------------------- */

static int64
number(FloJson arguments, const char *key)
{
	int64		value = 0;

	(void) flo_json_get_int64(arguments, key, &value);
	return value;
}

void
flo_agent_request_cutover(FloJson arguments, StringInfo result)
{
	FloCutover	c = {0};

	c.group = flo_json_get_string(arguments, "group");
	c.member = FLO_REPLICATOR_MEMBER;
	c.state = FLO_CUTOVER_REQUESTED;
	c.reverse = flo_json_get_string(arguments, "reverse");
	c.consumer = flo_json_get_string(arguments, "consumer");
	c.max_lag = number(arguments, "max_lag");
	c.timeout = number(arguments, "timeout");
	c.dry_run = number(arguments, "dry_run") != 0;
	c.compares = number(arguments, "compares") != 0;
	appendStringInfo(result, "{\"done\":%d}", flo_cutover_insert(&c));
}

void
flo_agent_withdraw_cutover(FloJson arguments, StringInfo result)
{
	uint64		rows = flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.cutovers SET state = 'cancelled', changed_at = clock_timestamp()"
								  " WHERE group_name = $1 AND role = 'source' AND state = 'requested'",
								  1, flo_json_get_string(arguments, "group"));

	flo_cutover_changed();
	appendStringInfo(result, "{\"done\":%d}", rows > 0);
}
