/*
 * agent_cutover.c
 *		Requests for a cut-over, as the agent writes them down.
 */
#include "postgres.h"

#include "conf/cutover.h"
#include "conf/sql.h"
#include "core/names.h"
#include "process/agent.h"

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
