/*
 * target_convert.c
 *		Binary values that are read without the receive function of their type.
 *
 * An input is a byte that chooses the type, one that chooses a type modifier, and
 * the value.  Whatever it is, the function is to say the same of it.
 */
#include "postgres.h"

#include "access/tupmacs.h"
#include "catalog/pg_type.h"
#include "sink/convert.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "fuzz.h"

static const Oid types[] = {
	BOOLOID, INT2OID, INT4OID, OIDOID, FLOAT4OID, XIDOID, CIDOID, INT8OID, FLOAT8OID, MONEYOID,
	PG_LSNOID, XID8OID, DATEOID, TIMEOID, TIMESTAMPOID, TIMESTAMPTZOID, UUIDOID, BYTEAOID, TEXTOID,
	VARCHAROID, BPCHAROID
};

static int32
choose_typmod(Oid type, uint8 byte)
{
	if (byte % 2 == 0)
		return -1;
	if (type == VARCHAROID || type == BPCHAROID)
		return VARHDRSZ + 1 + byte / 16;
	return type == TIMEOID || type == TIMESTAMPOID || type == TIMESTAMPTZOID ? byte / 2 % 7 : -1;
}

/* False when it is refused */
static bool
try_convert(FloConverter *converter, const char *data, size_t len, Datum *result)
{
	MemoryContext context = CurrentMemoryContext;
	FloValue	value = {FLO_VALUE_BINARY, (uint32) len, palloc(len + 1)};
	volatile bool taken = false;

	memcpy(value.data, data, len);
	value.data[len] = 'x';
	PG_TRY();
	{
		*result = flo_convert(converter, &value);
		taken = true;
	}
	PG_CATCH();
	{
		flo_convert_restore();
		fuzz_judge_error(context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	fuzz_check(value.data[len] == 'x');
	return taken;
}

/* As they are stored: of a number of 32 bits the rest of the Datum says nothing */
static bool
is_same(Datum a, Datum b, Oid type)
{
	char		stored_a[sizeof(Datum)] = {0};
	char		stored_b[sizeof(Datum)] = {0};
	int16		typlen;
	bool		byval;

	get_typlenbyval(type, &typlen, &byval);
	if (!byval)
		return datumIsEqual(a, b, false, typlen);
	store_att_byval(stored_a, a, typlen);
	store_att_byval(stored_b, b, typlen);
	return memcmp(stored_a, stored_b, sizeof(Datum)) == 0;
}

void
fuzz_convert(const char *data, size_t len)
{
	FloConverter converter;
	Oid			type;
	Datum		here = (Datum) 0;
	Datum		there = (Datum) 0;
	bool		taken;

	if (len < 2)
		return;
	type = types[(uint8) data[0] % lengthof(types)];
	flo_converter_init(&converter, type, type, choose_typmod(type, (uint8) data[1]),
					   CurrentMemoryContext);
	taken = try_convert(&converter, data + 2, len - 2, &here);
	converter.binary_path = FLO_BINARY_DIRECT;
	fuzz_check(try_convert(&converter, data + 2, len - 2, &there) == taken);
	fuzz_check(!taken || is_same(here, there, type));
}
