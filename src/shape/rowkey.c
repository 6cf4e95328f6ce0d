/*
 * rowkey.c
 *		The key of a row, for error messages.
 *
 * Called while an error is being reported: so no catalogs, no functions of
 * types, no memory.  Types that keys are made of are written as usual, others
 * that travelled in binary as hexadecimal digits.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "port/pg_bswap.h"
#include "shape/rowkey.h"

/* Key columns and bytes of a value that are shown */
#define FLO_KEY_COLUMNS 4
#define FLO_KEY_BYTES 64

static char key_text[512];
static int	key_len;

static void
put(const char *text, int len)
{
	len = Min(len, (int) sizeof(key_text) - 1 - key_len);
	memcpy(key_text + key_len, text, len);
	key_len += len;
	key_text[key_len] = '\0';
}

/* In whatever encoding it came: anything but ASCII might not be ours */
static void
put_text(const char *text, int len)
{
	for (int i = 0; i < Min(len, FLO_KEY_BYTES); i++)
		put((unsigned char) text[i] >= ' ' && (unsigned char) text[i] < 0x7f ? &text[i] : "?", 1);
	if (len > FLO_KEY_BYTES)
		put("...", 3);
}

static void
put_number(const FloValue *value)
{
	char		digits[32];
	uint64		number = 0;

	for (int i = 0; i < value->len; i++)
		number = number << 8 | (unsigned char) value->data[i];
	if (value->len == 2)
		number = (int64) (int16) number;
	else if (value->len == 4)
		number = (int64) (int32) number;
	put(digits, snprintf(digits, sizeof(digits), INT64_FORMAT, (int64) number));
}

static void
put_hex(const FloValue *value)
{
	char		digits[3];

	put("\\x", 2);
	for (int i = 0; i < Min(value->len, FLO_KEY_BYTES / 2); i++)
		put(digits, snprintf(digits, sizeof(digits), "%02x", (unsigned char) value->data[i]));
}

static void
put_value(const FloColumn *column, const FloValue *value)
{
	if (value->kind == FLO_VALUE_NULL || value->kind == FLO_VALUE_UNCHANGED)
		put("null", 4);
	else if (value->kind == FLO_VALUE_TEXT)
		put_text(value->data, value->len);
	else
		switch (column->type)
		{
			case INT2OID:
			case INT4OID:
			case INT8OID:
				put_number(value);
				break;
			case TEXTOID:
			case VARCHAROID:
			case BPCHAROID:
			case NAMEOID:
				put_text(value->data, value->len);
				break;
			default:
				put_hex(value);
		}
}

const char *
flo_row_key(const FloChange *change)
{
	const FloRelation *relation = change->relation;
	const FloTuple *tuple = change->op == FLO_OP_INSERT ||
		(change->op == FLO_OP_UPDATE && !change->has_old) ? &change->new : &change->old;
	int			keys[FLO_KEY_COLUMNS];
	int			nkeys = 0;

	for (int i = 0; i < relation->natts && nkeys < FLO_KEY_COLUMNS; i++)
		if (relation->columns[i].is_key)
			keys[nkeys++] = i;
	if (nkeys == 0)
		return NULL;
	key_len = 0;
	put("(", 1);
	for (int i = 0; i < nkeys; i++)
	{
		put(", ", i > 0 ? 2 : 0);
		put(relation->columns[keys[i]].name, strlen(relation->columns[keys[i]].name));
	}
	put(")=(", 3);
	for (int i = 0; i < nkeys; i++)
	{
		put(", ", i > 0 ? 2 : 0);
		put_value(&relation->columns[keys[i]], &tuple->values[keys[i]]);
	}
	put(")", 1);
	return key_text;
}
