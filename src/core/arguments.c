/*
 * arguments.c
 *		Arguments of SQL-callable functions that must be given.
 */
#include "postgres.h"

#include "core/arguments.h"
#include "utils/builtins.h"

void
flo_argument_require(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name)));
}

char *
flo_argument_text(FunctionCallInfo fcinfo, int n, const char *name)
{
	flo_argument_require(fcinfo, n, name);
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}
