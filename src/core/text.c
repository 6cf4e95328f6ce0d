/*
 * text.c
 *		Values as text, which parameters of SQL and members of JSON are, and back.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/compat_name.h"
#include "core/text.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/pg_lsn.h"

char *
flo_text_of_int64(int64 value)
{
	return psprintf(INT64_FORMAT, value);
}

char *
flo_text_of_uuid(const pg_uuid_t *uuid)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(uuid)));
}

void
flo_uuid_of_text(const char *text, pg_uuid_t *uuid)
{
	*uuid = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(text)));
}

char *
flo_text_of_lsn(XLogRecPtr lsn)
{
	return psprintf("%X/%X", LSN_FORMAT_ARGS(lsn));
}

XLogRecPtr
flo_lsn_of_text(const char *text)
{
	return DatumGetLSN(DirectFunctionCall1(pg_lsn_in, CStringGetDatum(text)));
}

bool
flo_lsn_try(const char *text, XLogRecPtr *lsn)
{
	return text != NULL && flo_compat_parse_lsn(text, lsn);
}

char *
flo_text_of_size(int64 bytes)
{
	return TextDatumGetCString(DirectFunctionCall1(pg_size_pretty, Int64GetDatum(bytes)));
}

Datum
flo_array_of_texts(const List *texts)
{
	Datum	   *elements = palloc(sizeof(Datum) * (list_length(texts) + 1));
	ListCell   *cell;

	foreach(cell, texts)
		elements[foreach_current_index(cell)] = CStringGetTextDatum(lfirst(cell));
	return PointerGetDatum(construct_array(elements, list_length(texts), TEXTOID, -1, false,
										   TYPALIGN_INT));
}

char *
flo_text_of_array(const List *texts)
{
	return OidOutputFunctionCall(F_ARRAY_OUT, flo_array_of_texts(texts));
}

List *
flo_texts_of_array(Datum array)
{
	List	   *texts = NIL;
	Datum	   *elements;
	int			count;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL,
					  &count);
	for (int i = 0; i < count; i++)
		texts = lappend(texts, TextDatumGetCString(elements[i]));
	return texts;
}
