/*
 * pseudonym.c
 *		Pseudonyms, hashes and encryption as SQL functions, and the secrets they
 *		are made with.
 *
 * A secret is named by what flo.secret() returns, which holds its name only, so it
 * can stand in rules, plans and statements.  Whether the current user may use it is
 * asked at the first call of a statement, and again when roles have changed.
 */
#include "postgres.h"

#include "api/function.h"
#include "catalog/pg_type.h"
#include "conf/named_secret.h"
#include "core/arguments.h"
#include "core/compat.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "shape/pseudonym.h"
#include "shape/sealed.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

FLO_FUNCTION(flo_secret);
FLO_FUNCTION(flo_set_secret);
FLO_FUNCTION(flo_drop_secret);
FLO_FUNCTION(flo_pseudonym);
FLO_FUNCTION(flo_pseudonym_any);
FLO_FUNCTION(flo_hash_text);
FLO_FUNCTION(flo_encrypt);
FLO_FUNCTION(flo_decrypt);
FLO_FUNCTION(flo_kind_of_pseudonym);

/* --- secrets ------------------------------------------------------------- */

Datum
flo_secret(PG_FUNCTION_ARGS)
{
	char	   *name = flo_argument_text(fcinfo, 0, "name");

	(void) flo_named_secret_require(name);
	PG_RETURN_TEXT_P(cstring_to_text(flo_named_secret_handle(name)));
}

Datum
flo_set_secret(PG_FUNCTION_ARGS)
{
	char	   *name = flo_argument_text(fcinfo, 0, "name");

	flo_argument_require(fcinfo, 2, "replace");
	flo_named_secret_set(name, PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1)),
						 PG_GETARG_BOOL(2));
	PG_RETURN_VOID();
}

Datum
flo_drop_secret(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(flo_named_secret_drop(flo_argument_text(fcinfo, 0, "name")));
}

/* --- what a call has ready for the next ---------------------------------- */

/* Arguments that are mostly the same in all calls: those but the value and its subject */
#define MAX_ARGUMENTS 7

typedef struct Ready
{
	uint64		version;		/* of secrets and roles; 0: nothing is ready */
	Oid			user;
	Datum		arguments[MAX_ARGUMENTS];	/* as they were */
	bool		nulls[MAX_ARGUMENTS];
	MemoryContext context;		/* of all that is made of them */

	FloPseudonym pseudonym;
	FloHash		hash;
	FloSealer	sealer;

	/* of values of any type */
	Oid			type;
	FmgrInfo	output;
	FmgrInfo	input;
	Oid			input_param;
} Ready;

static bool
is_argument_kept(FunctionCallInfo fcinfo, const Ready *ready, int n, bool by_value)
{
	if (PG_ARGISNULL(n) || ready->nulls[n])
		return PG_ARGISNULL(n) == ready->nulls[n];
	if (by_value)
		return PG_GETARG_DATUM(n) == ready->arguments[n];
	else
	{
		text	   *now = PG_GETARG_TEXT_PP(n);
		text	   *then = (text *) DatumGetPointer(ready->arguments[n]);

		return VARSIZE_ANY_EXHDR(now) == VARSIZE_ANY_EXHDR(then) &&
			memcmp(VARDATA_ANY(now), VARDATA_ANY(then), VARSIZE_ANY_EXHDR(now)) == 0;
	}
}

/*
 * What the call before has made ready, if its arguments were these: "texts" and
 * "values" are the numbers of them, ended by -1.  Else an empty one, for
 * which the caller makes all in its context.
 */
static Ready *
get_ready(FunctionCallInfo fcinfo, const int *texts, const int *values)
{
	Ready	   *ready = fcinfo->flinfo->fn_extra;
	bool		kept = ready != NULL && ready->version == flo_named_secret_version() &&
		ready->user == GetUserId();
	MemoryContext old;

	for (const int *n = texts; kept && *n >= 0; n++)
		kept = is_argument_kept(fcinfo, ready, *n, false);
	for (const int *n = values; kept && *n >= 0; n++)
		kept = is_argument_kept(fcinfo, ready, *n, true);
	if (kept)
		return ready;

	if (ready == NULL)
	{
		ready = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Ready));
		ready->context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "pg_flo pseudonym",
											   ALLOCSET_SMALL_SIZES);
		fcinfo->flinfo->fn_extra = ready;
	}
	MemoryContextReset(ready->context);
	ready->version = 0;
	old = MemoryContextSwitchTo(ready->context);
	for (const int *n = texts; *n >= 0; n++)
	{
		ready->nulls[*n] = PG_ARGISNULL(*n);
		if (!ready->nulls[*n])
			ready->arguments[*n] = PointerGetDatum(PG_GETARG_TEXT_P_COPY(*n));
	}
	for (const int *n = values; *n >= 0; n++)
	{
		ready->nulls[*n] = PG_ARGISNULL(*n);
		ready->arguments[*n] = fcinfo->args[*n].value;
	}
	MemoryContextSwitchTo(old);
	return ready;
}

/* Called when all else is ready */
static void
is_ready(Ready *ready)
{
	ready->user = GetUserId();
	ready->version = flo_named_secret_version();
}

static const char *
secret_argument(FunctionCallInfo fcinfo, int n)
{
	text	   *handle;
	char	   *name;

	flo_argument_require(fcinfo, n, "key");
	handle = PG_GETARG_TEXT_PP(n);
	name = flo_named_secret_of_handle(VARDATA_ANY(handle), VARSIZE_ANY_EXHDR(handle));
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the key is not the name of a secret"),
				 errhint("Write flo.secret('name'): what stands in a statement or a rule can be read by others.")));
	return flo_named_secret_require(name);
}

/* --- pseudonyms ---------------------------------------------------------- */

enum
{
	KIND, VALUE, KEY, SUBJECT, RANGE_MIN, RANGE_MAX, DAYS
};

static char *
number_argument(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		return NULL;
	return psprintf(INT64_FORMAT, n == DAYS ? (int64) PG_GETARG_INT32(n) : PG_GETARG_INT64(n));
}

static Ready *
ready_for_pseudonyms(FunctionCallInfo fcinfo)
{
	static const int texts[] = {KIND, KEY, -1};
	static const int values[] = {RANGE_MIN, RANGE_MAX, DAYS, -1};
	Ready	   *ready = get_ready(fcinfo, texts, values);

	if (ready->version == 0)
	{
		const FloPseudonymKind *kind = flo_pseudonym_kind(flo_argument_text(fcinfo, KIND, "kind"));
		FloPseudonymOptions options = {
			number_argument(fcinfo, RANGE_MIN), number_argument(fcinfo, RANGE_MAX),
			number_argument(fcinfo, DAYS), !PG_ARGISNULL(SUBJECT)
		};
		const char *secret;

		flo_pseudonym_init(&ready->pseudonym, kind, &options);
		secret = secret_argument(fcinfo, KEY);
		flo_pseudonym_set_secret(&ready->pseudonym, secret, strlen(secret));
		is_ready(ready);
	}
	return ready;
}

static const char *
pseudonym_of(FunctionCallInfo fcinfo, const FloPseudonym *pseudonym, const char *value,
			 int value_len, int *len)
{
	FloPseudonymInput input = {value, value_len, NULL, 0};

	if (!PG_ARGISNULL(SUBJECT))
	{
		text	   *subject = PG_GETARG_TEXT_PP(SUBJECT);

		input.subject = VARDATA_ANY(subject);
		input.subject_len = VARSIZE_ANY_EXHDR(subject);
	}
	else if (pseudonym->days > 0)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("subject must not be null for a pseudonym of kind \"date\"")));
	return flo_pseudonym_make(pseudonym, &input, len);
}

Datum
flo_pseudonym(PG_FUNCTION_ARGS)
{
	Ready	   *ready;
	text	   *value;
	const char *made;
	int			len;

	if (PG_ARGISNULL(VALUE))
		PG_RETURN_NULL();
	ready = ready_for_pseudonyms(fcinfo);
	value = PG_GETARG_TEXT_PP(VALUE);
	made = pseudonym_of(fcinfo, &ready->pseudonym, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value),
						&len);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(made, len));
}

/* False when the value is none of a date's types, of which the text depends on settings */
static bool
move_date(FunctionCallInfo fcinfo, const FloPseudonym *pseudonym, Oid type, Datum *value)
{
	text	   *subject;
	char	   *own;
	int			days;

	if (pseudonym->days == 0 || PG_ARGISNULL(SUBJECT) ||
		(type != DATEOID && type != TIMESTAMPOID && type != TIMESTAMPTZOID))
		return false;
	subject = PG_GETARG_TEXT_PP(SUBJECT);
	own = pg_server_to_any(VARDATA_ANY(subject), VARSIZE_ANY_EXHDR(subject), PG_UTF8);
	days = flo_pseudonym_shift(pseudonym, own, own != VARDATA_ANY(subject) ? (int) strlen(own) :
							   (int) VARSIZE_ANY_EXHDR(subject));
	if (type == DATEOID)
		*value = DirectFunctionCall2(date_pli, PG_GETARG_DATUM(VALUE), Int32GetDatum(days));
	else
	{
		Interval	interval = {0};

		interval.time = (TimeOffset) days * USECS_PER_DAY;
		*value = DirectFunctionCall2(timestamp_pl_interval, PG_GETARG_DATUM(VALUE),
									 IntervalPGetDatum(&interval));
	}
	return true;
}

/* Of the value's text, and again a value of its type */
Datum
flo_pseudonym_any(PG_FUNCTION_ARGS)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, VALUE);
	Ready	   *ready;
	char	   *value;
	const char *made;
	int			len;
	Datum		moved;

	if (PG_ARGISNULL(VALUE))
		PG_RETURN_NULL();
	ready = ready_for_pseudonyms(fcinfo);
	if (move_date(fcinfo, &ready->pseudonym, type, &moved))
		PG_RETURN_DATUM(moved);
	if (ready->type != type)
	{
		Oid			function;
		bool		is_varlena;

		if (!OidIsValid(type))
			elog(ERROR, "the type of the value is not known");
		getTypeOutputInfo(type, &function, &is_varlena);
		fmgr_info_cxt(function, &ready->output, fcinfo->flinfo->fn_mcxt);
		getTypeInputInfo(type, &function, &ready->input_param);
		fmgr_info_cxt(function, &ready->input, fcinfo->flinfo->fn_mcxt);
		ready->type = type;
	}
	value = OutputFunctionCall(&ready->output, PG_GETARG_DATUM(VALUE));
	made = pseudonym_of(fcinfo, &ready->pseudonym, value, strlen(value), &len);
	PG_RETURN_DATUM(InputFunctionCall(&ready->input, pnstrdup(made, len), ready->input_param, -1));
}

Datum
flo_kind_of_pseudonym(PG_FUNCTION_ARGS)
{
	const FloPseudonymKind *kind = flo_pseudonym_kind(flo_argument_text(fcinfo, 0, "kind"));

	PG_RETURN_TEXT_P(cstring_to_text(flo_uniqueness_name(kind->uniqueness)));
}

/* --- hashes -------------------------------------------------------------- */

Datum
flo_hash_text(PG_FUNCTION_ARGS)
{
	static const int texts[] = {1, 3, -1};
	static const int values[] = {2, -1};
	Ready	   *ready;
	text	   *value;
	const char *made;
	int			len;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	ready = get_ready(fcinfo, texts, values);
	if (ready->version == 0)
	{
		MemoryContext old = MemoryContextSwitchTo(ready->context);
		const char *secret;

		flo_argument_require(fcinfo, 2, "length");
		flo_hash_init(&ready->hash, PG_GETARG_INT32(2), flo_argument_text(fcinfo, 3, "alphabet"));
		MemoryContextSwitchTo(old);
		secret = secret_argument(fcinfo, 1);
		flo_hash_set_secret(&ready->hash, secret, strlen(secret));
		is_ready(ready);
	}
	value = PG_GETARG_TEXT_PP(0);
	made = flo_hash_make(&ready->hash, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), &len);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(made, len));
}

/* --- encryption ---------------------------------------------------------- */

static const FloSealer *
ready_sealer(FunctionCallInfo fcinfo)
{
	static const int texts[] = {1, -1};
	static const int values[] = {-1};
	Ready	   *ready = get_ready(fcinfo, texts, values);

	if (ready->version == 0)
	{
		const char *secret = secret_argument(fcinfo, 1);

		flo_sealer_init(&ready->sealer, secret, strlen(secret));
		is_ready(ready);
	}
	return &ready->sealer;
}

Datum
flo_encrypt(PG_FUNCTION_ARGS)
{
	text	   *value;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	value = PG_GETARG_TEXT_PP(0);
	PG_RETURN_TEXT_P(cstring_to_text(flo_seal(ready_sealer(fcinfo), VARDATA_ANY(value),
											  VARSIZE_ANY_EXHDR(value))));
}

Datum
flo_decrypt(PG_FUNCTION_ARGS)
{
	text	   *sealed;
	char	   *value;
	int			len;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	sealed = PG_GETARG_TEXT_PP(0);
	value = flo_unseal(ready_sealer(fcinfo), VARDATA_ANY(sealed), VARSIZE_ANY_EXHDR(sealed), &len);
	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the value was not encrypted with this secret, or has been changed")));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(value, len));
}
