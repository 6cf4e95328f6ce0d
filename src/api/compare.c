/*
 * compare.c
 *		flo.compare(): asks for a comparison of a group's tables.
 *
 * What a person has got wrong is said here; the comparison itself is the
 * replicator's, which begins at commit, and flo.comparisons shows how far it is.
 */
#include "postgres.h"

#include "api/function.h"
#include "api/stream.h"
#include "conf/commit.h"
#include "conf/comparisons.h"
#include "core/arguments.h"
#include "fmgr.h"
#include "utils/builtins.h"

#define DEFAULT_SAMPLES 100
#define MOST_SAMPLES 10000

FLO_FUNCTION(flo_compare);

Datum
flo_compare(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	FloCompareRequest request = {0};

	flo_argument_require(fcinfo, 3, "repair");
	flo_argument_require(fcinfo, 4, "repair_extra");
	request.worker = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	request.repair = PG_GETARG_BOOL(3);
	request.repair_extra = PG_GETARG_BOOL(4);
	request.samples = PG_ARGISNULL(5) ? DEFAULT_SAMPLES : PG_GETARG_INT32(5);
	if (request.samples < 0 || request.samples > MOST_SAMPLES)
		flo_conf_refuse(psprintf("compare_samples must be between 0 and %d", MOST_SAMPLES), NULL);
	if (request.repair_extra && !request.repair)
		flo_conf_refuse("repair_extra needs repair => true", NULL);
	flo_require_streaming(group, "there is no stream in which both sides are at the same place");
	request.tables = PG_ARGISNULL(1) ? flo_require_tables(group) :
		list_make1_oid(flo_require_table(group, PG_GETARG_OID(1)));
	(void) flo_require_reported(group, request.worker);
	PG_RETURN_INT64(flo_comparisons_ask(group, &request));
}
