/*
 * cutover_request.c
 *		Requests for a cut-over, committed at once whatever becomes of the caller.
 */
#include "postgres.h"

#include "process/agent.h"
#include "process/cutover_request.h"

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
