/*
 * pseudonym.c
 *		Which kinds of pseudonyms there are, and what is the same for all.
 */
#include "postgres.h"

#include <math.h>

#include "mb/pg_wchar.h"
#include "shape/pseudonym.h"
#include "shape/pseudonym_kinds.h"
#include "shape/words.h"
#include "utils/builtins.h"

static const FloPseudonymKind kinds[] = {
	{"email", FLO_COLLISION_RESISTANT, FLO_FITS_STRING, 42, flo_make_email},
	{"first_name", FLO_LOSSY, FLO_FITS_STRING, 7, flo_make_first_name},
	{"last_name", FLO_LOSSY, FLO_FITS_STRING, 8, flo_make_last_name},
	{"full_name", FLO_LOSSY, FLO_FITS_STRING, 16, flo_make_full_name},
	{"username", FLO_COLLISION_RESISTANT, FLO_FITS_STRING, 21, flo_make_username},
	{"street", FLO_LOSSY, FLO_FITS_STRING, 20, flo_make_street},
	{"city", FLO_LOSSY, FLO_FITS_STRING, FLO_WORD_MAX, flo_make_city},
	{"company", FLO_LOSSY, FLO_FITS_STRING, 26, flo_make_company},
	{"phone", FLO_INJECTIVE, FLO_FITS_STRING, 0, flo_make_phone},
	{"iban", FLO_INJECTIVE, FLO_FITS_STRING, 0, flo_make_iban},
	{"credit_card", FLO_INJECTIVE, FLO_FITS_STRING | FLO_FITS_INT8, 0, flo_make_credit_card},
	{"uuid", FLO_INJECTIVE, FLO_FITS_STRING | FLO_FITS_UUID, 36, flo_make_uuid},
	{"ip", FLO_INJECTIVE, FLO_FITS_STRING | FLO_FITS_INET, 43, flo_make_ip},
	{"date", FLO_LOSSY, FLO_FITS_STRING | FLO_FITS_DATE, 0, flo_make_date},
	{"integer", FLO_INJECTIVE, FLO_FITS_STRING | FLO_FITS_INT4 | FLO_FITS_INT8 | FLO_FITS_RANGE, 11, flo_make_integer},
	{"bigint", FLO_INJECTIVE, FLO_FITS_STRING | FLO_FITS_INT8 | FLO_FITS_RANGE, 20, flo_make_integer},
	{"text", FLO_INJECTIVE, FLO_FITS_STRING, 0, flo_make_text},
};

const FloPseudonymKind *
flo_pseudonym_kind(const char *name)
{
	StringInfoData known;

	initStringInfo(&known);
	for (int i = 0; i < lengthof(kinds); i++)
	{
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
		appendStringInfo(&known, "%s%s", i > 0 ? ", " : "", kinds[i].name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown kind of pseudonym \"%s\"", name),
			 errhint("Kinds are: %s.", known.data)));
}

const char *
flo_uniqueness_name(FloUniqueness uniqueness)
{
	static const char *const names[] = {"injective", "collision-resistant", "lossy"};

	return names[uniqueness];
}

/* --- options ------------------------------------------------------------- */

static void
bad_option(const FloPseudonymKind *kind, const char *option, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid argument \"%s\" of a pseudonym of kind \"%s\"", option, kind->name),
			 errhint("%s", hint)));
}

static bool
is_integer(const FloPseudonymKind *kind)
{
	return (kind->fits & FLO_FITS_RANGE) != 0;
}

static bool
is_date(const FloPseudonymKind *kind)
{
	return (kind->fits & FLO_FITS_DATE) != 0;
}

static int64
limit(const FloPseudonymKind *kind, const char *option, const char *text, bool upper)
{
	bool		is_int4 = (kind->fits & FLO_FITS_INT4) != 0;
	int64		value;

	if (text == NULL)
		return is_int4 ? (upper ? PG_INT32_MAX : PG_INT32_MIN) :
			(upper ? PG_INT64_MAX : PG_INT64_MIN);
	if (!flo_pseudonym_parse_integer(text, strlen(text), &value))
		bad_option(kind, option, "It is a whole number.");
	if (is_int4 && (value < PG_INT32_MIN || value > PG_INT32_MAX))
		bad_option(kind, option, "The range is one of type integer; the kind \"bigint\" has a larger one.");
	return value;
}

static void
set_range(FloPseudonym *pseudonym, const FloPseudonymOptions *options)
{
	const FloPseudonymKind *kind = pseudonym->kind;

	pseudonym->ranged = options->min != NULL || options->max != NULL;
	pseudonym->min = limit(kind, "min", options->min, false);
	pseudonym->max = limit(kind, "max", options->max, true);
	if (pseudonym->max < pseudonym->min)
		bad_option(kind, "max", "It must not be below min.");
	if (pseudonym->ranged &&
		(uint64) pseudonym->max - (uint64) pseudonym->min >= UINT64CONST(1) << 63)
		bad_option(kind, "min", "Together, min and max allow at most 2^63 values.");
}

void
flo_pseudonym_init(FloPseudonym *pseudonym, const FloPseudonymKind *kind,
				   const FloPseudonymOptions *options)
{
	memset(pseudonym, 0, sizeof(FloPseudonym));
	pseudonym->kind = kind;
	if (is_integer(kind))
		set_range(pseudonym, options);
	else if (options->min != NULL || options->max != NULL)
		bad_option(kind, options->min != NULL ? "min" : "max",
				   "Only \"integer\" and \"bigint\" have a range.");
	if (is_date(kind))
	{
		int64		days = FLO_PSEUDONYM_DAYS;

		if (options->days != NULL &&
			!flo_pseudonym_parse_integer(options->days, strlen(options->days), &days))
			days = 0;
		if (days < 1 || days > FLO_PSEUDONYM_MAX_DAYS)
			bad_option(kind, "days", "It is from 1 to 36525 days, that a date is moved at most.");
		pseudonym->days = (int) days;
		if (!options->has_subject)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a pseudonym of kind \"date\" needs a subject"),
					 errhint("All dates of one subject are moved by the same number of days: name the column that tells whose they are.")));
	}
	else if (options->days != NULL || options->has_subject)
		bad_option(kind, options->days != NULL ? "days" : "subject",
				   "Only \"date\" is moved by days, the same for all dates of a subject.");
}

void
flo_pseudonym_set_secret(FloPseudonym *pseudonym, const void *secret, size_t len)
{
	/* both kinds of integers are one */
	flo_prf_init(&pseudonym->prf, secret, len,
				 psprintf("pg_flo pseudonym %s",
						  is_integer(pseudonym->kind) ? "integer" : pseudonym->kind->name));
}

/* --- values -------------------------------------------------------------- */

const char *
flo_pseudonym_make(const FloPseudonym *pseudonym, const FloPseudonymInput *input, int *len)
{
	FloPseudonymInput own = *input;
	StringInfoData out;
	char	   *result;

	if (input->len == 0)
	{
		*len = 0;
		return "";
	}
	own.value = pg_server_to_any(input->value, input->len, PG_UTF8);
	if (own.value != input->value)
		own.len = strlen(own.value);
	if (input->subject != NULL)
	{
		own.subject = pg_server_to_any(input->subject, input->subject_len, PG_UTF8);
		if (own.subject != input->subject)
			own.subject_len = strlen(own.subject);
	}
	initStringInfo(&out);
	pseudonym->kind->make(pseudonym, &own, &out);
	result = pg_any_to_server(out.data, out.len, PG_UTF8);
	*len = result != out.data ? (int) strlen(result) : out.len;
	return result;
}

/* --- hashes -------------------------------------------------------------- */

void
flo_hash_init(FloHash *hash, int length, const char *alphabet)
{
	int			room = pg_mbstrlen(alphabet);
	double		bits;

	if (length < 1 || length > FLO_HASH_MAX_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid length of a hash: %d", length),
				 errhint("It is from 1 to %d characters.", FLO_HASH_MAX_LENGTH)));
	hash->length = length;
	hash->count = 0;
	hash->characters = palloc(Max(room, 1) * sizeof(char *));
	for (const char *at = alphabet; *at != '\0'; at += pg_mblen(at))
	{
		char	   *character = pnstrdup(at, pg_mblen(at));

		for (int i = 0; i < hash->count; i++)
			if (strcmp(hash->characters[i], character) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("character \"%s\" is twice in the alphabet of a hash", character)));
		hash->characters[hash->count++] = character;
	}
	if (hash->count < 2 || hash->count > 256)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid alphabet of a hash: its size is %d", hash->count),
				 errhint("It has from 2 to 256 characters.")));
	bits = length * log2(hash->count);
	hash->uniqueness = bits >= 64 ? FLO_COLLISION_RESISTANT : FLO_LOSSY;
}

void
flo_hash_set_secret(FloHash *hash, const void *secret, size_t len)
{
	flo_prf_init(&hash->prf, secret, len, "pg_flo hash");
}

const char *
flo_hash_make(const FloHash *hash, const char *value, int value_len, int *len)
{
	char	   *own = pg_server_to_any(value, value_len, PG_UTF8);
	FloPrfState state;
	FloPrfNumbers numbers;
	StringInfoData out;

	initStringInfo(&out);
	flo_prf_begin(&state, &hash->prf);
	flo_prf_add(&state, own, own != value ? strlen(own) : value_len);
	flo_prf_numbers(&numbers, &state);
	for (int i = 0; i < hash->length; i++)
		appendStringInfoString(&out, hash->characters[flo_prf_next(&numbers, hash->count)]);
	*len = out.len;
	return out.data;
}
