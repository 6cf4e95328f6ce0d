/*
 * main.c
 *		flo_fuzz(text[]): libFuzzer inside a backend.
 *
 * A server preloads pg_flo as built for fuzzing, with all of its code and these
 * files, and one session calls flo_fuzz() with the name of a target and
 * libFuzzer's own arguments.  So nothing is stubbed: errors, encodings, types,
 * catalogs and SPI are the server's.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "core/error_context.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "fuzz.h"

/* libFuzzer's; never returns when it is done */
extern int	LLVMFuzzerRunDriver(int *argc, char ***argv,
								int (*callback) (const uint8_t *data, size_t size));

PG_FUNCTION_INFO_V1(flo_fuzz);

static const struct
{
	const char *name;
	FuzzTarget	run;
}			targets[] = {
	{"chunk", fuzz_chunk},
	{"change", fuzz_change},
	{"event", fuzz_event},
	{"value", fuzz_value},
	{"message", fuzz_message},
	{"ddl", fuzz_ddl},
	{"broker", fuzz_broker},
	{"record", fuzz_record},
	{"rule", fuzz_rule},
	{"import", fuzz_import},
	{"hook", fuzz_hook},
	{"name", fuzz_name},
	{"convert", fuzz_convert},
};

static FuzzTarget target;

void
fuzz_fail(const char *what)
{
	fprintf(stderr, "==fuzz== not true: %s\n", what);
	abort();
}

void
fuzz_touch(const void *data, size_t len)
{
	const volatile char *at = data;

	for (size_t i = 0; i < len; i++)
		(void) at[i];
}

void
fuzz_touch_text(const char *text)
{
	fuzz_touch(text, strlen(text) + 1);
}

char *
fuzz_copy(const char *data, size_t len)
{
	char	   *copy = palloc(len);

	memcpy(copy, data, len);
	return copy;
}

char *
fuzz_text(const char *data, size_t len)
{
	char	   *copy;

	if (memchr(data, '\0', len) != NULL)
		return NULL;
	copy = palloc(len + 1);
	memcpy(copy, data, len);
	copy[len] = '\0';
	return copy;
}

char *
fuzz_next_text(const char **data, size_t *len)
{
	const char *start = *data;
	const char *zero;
	size_t		part;

	if (*len == 0)
		return NULL;
	zero = memchr(start, '\0', *len);
	part = zero != NULL ? zero - start : *len;
	*data += Min(part + 1, *len);
	*len -= Min(part + 1, *len);
	return pnstrdup(start, part);
}

/* The server's functions that read binary values say XX000 of some that are not well formed */
static bool
is_excused(const ErrorData *error)
{
	size_t		len = strlen(error->funcname);

	return len >= 4 && strcmp(error->funcname + len - 4, "recv") == 0;
}

void
fuzz_judge_error(MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	if (error->sqlerrcode == ERRCODE_INTERNAL_ERROR && !is_excused(error))
	{
		fprintf(stderr, "==fuzz== XX000: %s (%s, %s:%d)\n", error->message,
				error->funcname, error->filename, error->lineno);
		abort();
	}
}

static int
run_input(const uint8_t *data, size_t len)
{
	MemoryContext outer = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	MemoryContext context = fuzz_context_create(outer, "input");

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		target((const char *) data, len);
	}
	PG_CATCH();
	{
		fuzz_judge_error(context);
	}
	PG_END_TRY();
	RollbackAndReleaseCurrentSubTransaction();
	CurrentResourceOwner = owner;
	flo_error_context_clear();
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(context);
	return 0;
}

static FuzzTarget
find_target(const char *name)
{
	for (int i = 0; i < lengthof(targets); i++)
		if (strcmp(targets[i].name, name) == 0)
			return targets[i].run;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("there is no fuzz target \"%s\"", name)));
}

/* What the server does with a signal is of no use here; libFuzzer takes those that nobody has */
static void
leave_signals_to_libfuzzer(void)
{
	static const int signals[] = {
		SIGALRM, SIGINT, SIGTERM, SIGFPE, SIGSEGV, SIGBUS, SIGILL, SIGABRT
	};

	for (int i = 0; i < lengthof(signals); i++)
		signal(signals[i], SIG_DFL);
}

Datum
flo_fuzz(PG_FUNCTION_ARGS)
{
	Datum	   *words;
	int			nwords;
	char	  **argv;
	int			argc;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT,
					  &words, NULL, &nwords);
	argv = palloc0((nwords + 1) * sizeof(char *));
	for (argc = 0; argc < nwords; argc++)
		argv[argc] = TextDatumGetCString(words[argc]);
	target = find_target(argv[0]);
	leave_signals_to_libfuzzer();
	PG_RETURN_INT32(LLVMFuzzerRunDriver(&argc, &argv, run_input));
}
