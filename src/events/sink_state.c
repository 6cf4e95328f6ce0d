/*
 * sink_state.c
 *		Reads the JSON objects that sinks have saved, without a transaction.
 */
#include "postgres.h"

#include "events/sink_state.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

Jsonb *
flo_sink_state_parse(const char *text)
{
	Jsonb	   *saved = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));

	if (!JB_ROOT_IS_OBJECT(saved))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the recorded state of the worker cannot be read")));
	return saved;
}

char *
flo_sink_state_text(Jsonb *saved, const char *key)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&saved->root, key, strlen(key), &value) == NULL ||
		value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

bool
flo_sink_state_int64(Jsonb *saved, const char *key, int64 *result)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&saved->root, key, strlen(key), &value) == NULL ||
		value.type != jbvNumeric)
		return false;
	*result = DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value.val.numeric)));
	return true;
}
