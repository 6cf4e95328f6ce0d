/*
 * pseudonym_types.c
 *		Pseudonyms of values of types: identifiers, addresses, dates, numbers.
 *
 * A value that is none of the type is an error, which does not show it.
 */
#include "postgres.h"

#include <arpa/inet.h>

#include "core/compat.h"
#include "shape/permute.h"
#include "shape/pseudonym_kinds.h"
#include "utils/datetime.h"

pg_noreturn static void
not_of_kind(const FloPseudonym *pseudonym, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("a value has no pseudonym of kind \"%s\", as it is not %s",
					pseudonym->kind->name, what),
			 errhint("The kind \"text\" takes any value.")));
}

/* --- uuid ---------------------------------------------------------------- */

#define UUID_BYTES 16

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
		c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* As the server reads them: braces around, hyphens after groups of four digits */
static bool
read_uuid(const char *value, int len, FloDigit *bytes)
{
	int			count = 0;

	if (len > 1 && value[0] == '{' && value[len - 1] == '}')
	{
		value++;
		len -= 2;
	}
	for (int i = 0; i < len; i++)
	{
		int			digit = hex_digit(value[i]);
		FloDigit   *byte = &bytes[count / 2];

		if (value[i] == '-' && count > 0 && count % 4 == 0 && value[i - 1] != '-' && count < 32)
			continue;
		if (digit < 0 || count == 2 * UUID_BYTES)
			return false;
		byte->digit = count % 2 == 0 ? digit : byte->digit << 4 | digit;
		byte->radix = 256;
		count++;
	}
	return count == 2 * UUID_BYTES;
}

/* Version and variant stay: the upper half of one byte, two bits of another */
void
flo_make_uuid(const FloPseudonym *pseudonym, const FloPseudonymInput *input, StringInfo out)
{
	FloDigit	bytes[UUID_BYTES];
	uint8		form[2];

	if (!read_uuid(input->value, input->len, bytes))
		not_of_kind(pseudonym, "a uuid");
	form[0] = (uint8) (bytes[6].digit & 0xF0);
	form[1] = (uint8) (bytes[8].digit & 0xC0);
	bytes[6].digit &= 0x0F;
	bytes[6].radix = 0x10;
	bytes[8].digit &= 0x3F;
	bytes[8].radix = 0x40;
	flo_permute(&pseudonym->prf, form, sizeof(form), bytes, UUID_BYTES);
	bytes[6].digit |= form[0];
	bytes[8].digit |= form[1];
	for (int i = 0; i < UUID_BYTES; i++)
		appendStringInfo(out, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
						 bytes[i].digit);
}

/* --- addresses ----------------------------------------------------------- */

/* Nothing else may stand behind an address: it stays */
static bool
is_netmask(const char *mask, int len, int most)
{
	int			bits = 0;

	for (int i = 0; i < len; i++)
		if (mask[i] < '0' || mask[i] > '9' || i == 3)
			return false;
		else
			bits = bits * 10 + mask[i] - '0';
	return len > 0 && bits <= most;
}

/* A netmask stays */
void
flo_make_ip(const FloPseudonym *pseudonym, const FloPseudonymInput *input, StringInfo out)
{
	char		text[INET6_ADDRSTRLEN];
	uint8		address[16];
	FloDigit	digits[16];
	const char *mask = memchr(input->value, '/', input->len);
	int			len = mask != NULL ? (int) (mask - input->value) : input->len;
	int			family;
	int			count;

	if (len >= (int) sizeof(text))
		not_of_kind(pseudonym, "an IP address");
	memcpy(text, input->value, len);
	text[len] = '\0';
	family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
	count = family == AF_INET6 ? 16 : 4;
	if (inet_pton(family, text, address) != 1 ||
		(mask != NULL && !is_netmask(mask + 1, input->len - len - 1, count * 8)))
		not_of_kind(pseudonym, "an IP address");
	for (int i = 0; i < count; i++)
	{
		digits[i].digit = address[i];
		digits[i].radix = 256;
	}
	/* their number is the form */
	flo_permute(&pseudonym->prf, "", 0, digits, count);
	for (int i = 0; i < count; i++)
		address[i] = (uint8) digits[i].digit;
	appendStringInfoString(out, inet_ntop(family, address, text, sizeof(text)));
	if (mask != NULL)
		appendBinaryStringInfo(out, mask, input->len - len);
}

/* --- dates --------------------------------------------------------------- */

/* The server's last date is in 5874897 */
#define MAX_YEAR 5874897

/* A number of digits at *at, and what must follow it ('\0': anything) */
static bool
read_number(const char **at, const char *end, char next, int *number)
{
	const char *begin = *at;

	*number = 0;
	for (; *at < end && **at >= '0' && **at <= '9'; (*at)++)
		if (*at - begin < 7)
			*number = *number * 10 + **at - '0';
		else
			return false;
	if (*at == begin || (next != '\0' && (*at == end || **at != next)))
		return false;
	if (next != '\0')
		(*at)++;
	return true;
}

/* Digits, at most so many, after one of the characters "before" */
static bool
read_part(const char **at, const char *end, const char *before, int most)
{
	const char *begin = *at + 1;

	if (*at == end || strchr(before, **at) == NULL)
		return false;
	for (*at = begin; *at < end && **at >= '0' && **at <= '9'; (*at)++)
		if (*at - begin == most)
			return false;
	return *at > begin;
}

/* A time of day and its zone, as the server writes them in ISO style, or nothing */
static bool
is_time(const char *at, const char *end)
{
	if (at == end)
		return true;
	if (!read_part(&at, end, " T", 2) || !read_part(&at, end, ":", 2))
		return false;
	if (at < end && *at == ':' && !read_part(&at, end, ":", 2))
		return false;
	if (at < end && *at == '.' && !read_part(&at, end, ".", 9))
		return false;
	if (at < end && *at == 'Z')
		return at + 1 == end;
	if (at < end && !read_part(&at, end, "+-", 4))
		return false;
	while (at < end)
		if (!read_part(&at, end, ":", 2))
			return false;
	return true;
}

int
flo_pseudonym_shift(const FloPseudonym *pseudonym, const char *subject, int len)
{
	FloPrfState state;
	FloPrfNumbers numbers;
	int			shift;

	flo_prf_begin(&state, &pseudonym->prf);
	flo_prf_add(&state, subject, len);
	flo_prf_numbers(&numbers, &state);
	shift = 1 + flo_prf_next(&numbers, 2 * pseudonym->days);
	return shift > pseudonym->days ? pseudonym->days - shift : shift;
}

/* As many days as the subject says; the time of day stays */
void
flo_make_date(const FloPseudonym *pseudonym, const FloPseudonymInput *input, StringInfo out)
{
	const char *at = input->value;
	const char *end = at + input->len;
	bool		is_bc = input->len > 3 && memcmp(end - 3, " BC", 3) == 0;
	int			shift = flo_pseudonym_shift(pseudonym, input->subject, input->subject_len);
	int			year;
	int			month;
	int			day;

	if ((input->len == 8 && memcmp(at, "infinity", 8) == 0) ||
		(input->len == 9 && memcmp(at, "-infinity", 9) == 0))
	{
		appendBinaryStringInfo(out, input->value, input->len);
		return;
	}
	if (!read_number(&at, end, '-', &year) || !read_number(&at, end, '-', &month) ||
		!read_number(&at, end, '\0', &day) || month < 1 || month > 12 || day < 1 || day > 31 ||
		year < 1 || year > MAX_YEAR)
		not_of_kind(pseudonym, "a date as in 2024-12-31");
	if (is_bc)
		end -= 3;
	if (!is_time(at, end))
		not_of_kind(pseudonym, "a date as in 2024-12-31");

	j2date(date2j(is_bc ? 1 - year : year, month, day) + shift, &year, &month, &day);
	is_bc = year <= 0;
	appendStringInfo(out, "%04d-%02d-%02d", is_bc ? 1 - year : year, month, day);
	if (at < end)
		appendBinaryStringInfo(out, at, (int) (end - at));
	if (is_bc)
		appendStringInfoString(out, " BC");
}

/* --- numbers ------------------------------------------------------------- */

bool
flo_pseudonym_parse_integer(const char *text, int len, int64 *result)
{
	bool		negative = len > 0 && text[0] == '-';
	uint64		number = 0;
	uint64		most = negative ? UINT64CONST(1) << 63 : (UINT64CONST(1) << 63) - 1;
	int			i = negative || (len > 0 && text[0] == '+') ? 1 : 0;

	if (i == len)
		return false;
	for (; i < len; i++)
	{
		uint64		digit = (uint64) (text[i] - '0');

		if (text[i] < '0' || text[i] > '9' || number > (most - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	*result = negative ? (int64) (0 - number) : (int64) number;
	return true;
}

/*
 * Within the range that was given; without one, numbers above zero and below it
 * each among themselves, and zero is zero.
 */
void
flo_make_integer(const FloPseudonym *pseudonym, const FloPseudonymInput *input, StringInfo out)
{
	int64		value;
	int64		form[2] = {pseudonym->min, pseudonym->max};
	char		range[64];
	uint64		size;
	uint64		number;

	if (!flo_pseudonym_parse_integer(input->value, input->len, &value))
		not_of_kind(pseudonym, "a whole number");
	if (value < pseudonym->min || value > pseudonym->max)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("a value is outside of the range from " INT64_FORMAT " to " INT64_FORMAT " of its pseudonyms",
						pseudonym->min, pseudonym->max),
				 errhint("Set min and max so that they include all values.")));
	if (!pseudonym->ranged)
	{
		if (value == 0)
		{
			appendStringInfoChar(out, '0');
			return;
		}
		form[0] = value > 0 ? 1 : pseudonym->min;
		form[1] = value > 0 ? pseudonym->max : -1;
	}
	size = (uint64) form[1] - (uint64) form[0] + 1;
	number = (uint64) value - (uint64) form[0];
	snprintf(range, sizeof(range), INT64_FORMAT " " INT64_FORMAT, form[0], form[1]);
	number = flo_permute_number(&pseudonym->prf, range, strlen(range), number, size);
	appendStringInfo(out, INT64_FORMAT, (int64) ((uint64) form[0] + number));
}
