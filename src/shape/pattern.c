/*
 * pattern.c
 *		Regular expressions that replace every match in a value.
 *
 * The only file that knows PCRE2.  Patterns are compiled once, to machine code
 * where the library can, and match characters, not bytes: values of a database
 * in another encoding are matched in UTF-8.
 *
 * Promise: no pattern can hang its process.  From one place in the value a search
 * may take FLO_MATCH_LIMIT steps; what needs more is an error.  That bounds little:
 * it counts anew at each place, and a step may run over the whole value.  So the
 * library calls us before each item of the pattern, at the cost of some
 * nanoseconds, and a search ends there when the process is interrupted: to end, to
 * cancel, or because the rules' time for the row is over (budget.h).  The library's
 * own memory (malloc) goes with the memory context, also when an error is thrown,
 * and nothing is thrown through the library's frames.
 */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "postgres.h"

#include <pcre2.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "shape/pattern.h"
#include "utils/memutils.h"

/* Steps of a search from one place */
#define FLO_MATCH_LIMIT 1000000

/* Kilobytes the slow matcher may take, and the fast one's own stack in bytes */
#define FLO_HEAP_LIMIT (20 * 1024)
#define FLO_JIT_STACK (4 * 1024 * 1024)

/* A piece of the replacement: text, or a group of the match */
typedef struct FloPiece
{
	int			group;			/* -1: text */
	const char *text;
	int			len;
} FloPiece;

struct FloPattern
{
	pcre2_code *code;
	pcre2_match_context *limits;
	pcre2_match_data *match;
	pcre2_jit_stack *stack;
	bool		utf;			/* subjects are UTF-8 */
	int			npieces;
	FloPiece   *pieces;
};

static void
pattern_is_gone(void *arg)
{
	FloPattern *pattern = arg;

	/* all of them take NULL */
	pcre2_match_data_free(pattern->match);
	pcre2_match_context_free(pattern->limits);
	pcre2_jit_stack_free(pattern->stack);
	pcre2_code_free(pattern->code);
}

static void
out_of_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("A regular expression could not be prepared.")));
}

static char *
error_text(int code)
{
	char		buffer[256];

	if (pcre2_get_error_message(code, (PCRE2_UCHAR *) buffer,
								sizeof(buffer)) == PCRE2_ERROR_BADDATA)
		snprintf(buffer, sizeof(buffer), "error %d", code);
	return pstrdup(buffer);
}

/* The database's text as the library takes it, and back; may be the same pointer */
static char *
to_utf8(const char *text, int len)
{
	return pg_server_to_any(text, len, PG_UTF8);
}

static char *
from_utf8(const char *text, int len)
{
	return pg_any_to_server(text, len, PG_UTF8);
}

static uint32
parse_flags(const char *flags)
{
	uint32		options = 0;

	for (const char *flag = flags; flag != NULL && *flag != '\0'; flag += pg_mblen(flag))
	{
		switch (*flag)
		{
			case 'i':
				options |= PCRE2_CASELESS;
				break;
			case 'm':
				options |= PCRE2_MULTILINE;
				break;
			case 's':
				options |= PCRE2_DOTALL;
				break;
			case 'x':
				options |= PCRE2_EXTENDED;
				break;
			case 'g':
				break;
			default:
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("invalid flag \"%.*s\" of a regular expression", pg_mblen(flag),
								flag),
						 errhint("Flags are i (ignore case), m (lines), s (dot matches newline) and x (extended syntax); every match is always replaced.")));
		}
	}
	return options;
}

static void
bad_replacement(const char *replace, const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid replacement \"%s\": %s", replace, reason),
			 errhint("Groups are written $1, ${1} or ${name}, the whole match $0, a dollar sign $$.")));
}

static void
add_piece(FloPattern *pattern, int group, const char *text, int len)
{
	FloPiece   *piece;

	if (group < 0 && len == 0)
		return;
	piece = &pattern->pieces[pattern->npieces++];
	piece->group = group;
	piece->text = text;
	piece->len = len;
}

/* The group that stands behind a dollar sign; moves "at" behind it */
static int
parse_group(FloPattern *pattern, const char *replace, const char **at)
{
	const char *start = *at;
	bool		braces = (*start == '{');
	const char *end;
	char	   *name;
	int			group;
	uint32		count;

	if (braces)
	{
		end = strchr(++start, '}');
		if (end == NULL)
			bad_replacement(replace, "a brace is not closed");
		*at = end + 1;
	}
	else
	{
		end = start + strspn(start, "0123456789");
		*at = end;
	}
	if (end == start)
		bad_replacement(replace, "a dollar sign is not followed by a group");
	name = pnstrdup(start, end - start);
	if (strspn(name, "0123456789") == strlen(name))
	{
		(void) pcre2_pattern_info(pattern->code, PCRE2_INFO_CAPTURECOUNT, &count);
		group = strlen(name) < 6 ? atoi(name) : PG_INT16_MAX;
		if (group > (int) count)
			bad_replacement(replace, psprintf("the pattern has no group %s", name));
		return group;
	}
	group = pcre2_substring_number_from_name(pattern->code, (PCRE2_SPTR) name);
	if (group < 0)
		bad_replacement(replace, psprintf("the pattern has no group \"%s\"", name));
	return group;
}

static void
parse_replacement(FloPattern *pattern, const char *replace)
{
	const char *text = replace;
	const char *at = replace;

	pattern->pieces = palloc((strlen(replace) + 1) * sizeof(FloPiece));
	while (*at != '\0')
	{
		if (*at != '$')
		{
			at++;
			continue;
		}
		add_piece(pattern, -1, text, at - text);
		at++;
		if (*at == '$')
			text = at++;
		else
		{
			add_piece(pattern, parse_group(pattern, replace, &at), NULL, 0);
			text = at;
		}
	}
	add_piece(pattern, -1, text, at - text);
}

static void
compile_code(FloPattern *pattern, const char *text, uint32 options)
{
	int			error;
	PCRE2_SIZE	offset;
	char	   *subject = to_utf8(text, strlen(text));

	options |= PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT;
	if (pattern->utf)
		options |= PCRE2_UTF | PCRE2_NO_UTF_CHECK;
	else
		options |= PCRE2_NEVER_UTF;
	pattern->code = pcre2_compile((PCRE2_SPTR) subject, strlen(subject), options,
								  &error, &offset, NULL);
	if (pattern->code == NULL)
	{
		char	   *before = from_utf8(subject, Min(offset, strlen(subject)));

		/*
		 * the offset is in bytes of UTF-8, and may stand within a character
		 * only if that is at fault
		 */
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid regular expression \"%s\": %s at offset %d", text,
						error_text(error),
						pg_mbstrlen_with_len(before, before == subject ? (int) offset :
											 (int) strlen(before)))));
	}
}

/* Called by the library: must not throw.  Anything but 0 ends the search. */
static int
look_for_interrupts(pcre2_callout_block *block, void *arg)
{
	return InterruptPending && INTERRUPTS_CAN_BE_PROCESSED() ? PCRE2_ERROR_CALLOUT : 0;
}

FloPattern *
flo_pattern_compile(const char *text, const char *replace, const char *flags,
					MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	FloPattern *pattern = palloc0(sizeof(FloPattern));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	callback->func = pattern_is_gone;
	callback->arg = pattern;
	MemoryContextRegisterResetCallback(context, callback);

	pattern->utf = GetDatabaseEncoding() != PG_SQL_ASCII;
	compile_code(pattern, text, parse_flags(flags));
	parse_replacement(pattern, pstrdup(to_utf8(replace, strlen(replace))));

	pattern->limits = pcre2_match_context_create(NULL);
	pattern->match = pcre2_match_data_create_from_pattern(pattern->code, NULL);
	if (pattern->limits == NULL || pattern->match == NULL)
		out_of_memory();
	pcre2_set_match_limit(pattern->limits, FLO_MATCH_LIMIT);
	pcre2_set_depth_limit(pattern->limits, FLO_MATCH_LIMIT);
	pcre2_set_heap_limit(pattern->limits, FLO_HEAP_LIMIT);
	(void) pcre2_set_callout(pattern->limits, look_for_interrupts, NULL);

	/* without it everything works as well, only slower */
	if (pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE) == 0)
	{
		pattern->stack = pcre2_jit_stack_create(32 * 1024, FLO_JIT_STACK, NULL);
		if (pattern->stack != NULL)
			pcre2_jit_stack_assign(pattern->limits, NULL, pattern->stack);
	}
	MemoryContextSwitchTo(old);
	return pattern;
}

/* Search from an offset on; false when there is no match */
static bool
search(FloPattern *pattern, const char *text, PCRE2_SIZE len, PCRE2_SIZE from, uint32 options)
{
	int			result;

	/* the server's text is valid in its encoding, always */
	options |= PCRE2_NO_UTF_CHECK;
	do
	{
		/* an interrupt may turn out to be nothing: once more then */
		CHECK_FOR_INTERRUPTS();
		result = pcre2_match(pattern->code, (PCRE2_SPTR) text, len, from, options,
							 pattern->match, pattern->limits);
		if (result == PCRE2_ERROR_JIT_STACKLIMIT)
			result = pcre2_match(pattern->code, (PCRE2_SPTR) text, len, from,
								 options | PCRE2_NO_JIT, pattern->match, pattern->limits);
	} while (result == PCRE2_ERROR_CALLOUT);
	if (result >= 0)
		return true;
	switch (result)
	{
		case PCRE2_ERROR_NOMATCH:
			return false;
		case PCRE2_ERROR_NOMEMORY:
			out_of_memory();
			break;
		case PCRE2_ERROR_MATCHLIMIT:
		case PCRE2_ERROR_DEPTHLIMIT:
		case PCRE2_ERROR_HEAPLIMIT:
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("a regular expression gave up on a value of %zu bytes: %s",
							len, error_text(result)),
					 errhint("Repetitions within repetitions, like (a+)+, take a number of steps that doubles with each character: write the pattern without them.")));
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("a regular expression failed: %s", error_text(result))));
	}
	return false;
}

static void
append_replacement(FloPattern *pattern, const char *text, StringInfo out)
{
	const		PCRE2_SIZE *ends = pcre2_get_ovector_pointer(pattern->match);

	for (int i = 0; i < pattern->npieces; i++)
	{
		FloPiece   *piece = &pattern->pieces[i];
		PCRE2_SIZE	start;

		if (piece->group < 0)
		{
			appendBinaryStringInfo(out, piece->text, piece->len);
			continue;
		}
		/* a group that took no part in the match is empty */
		start = ends[2 * piece->group];
		if (start != PCRE2_UNSET)
			appendBinaryStringInfo(out, text + start, (int) (ends[2 * piece->group + 1] - start));
	}
}

/*
 * Go through all matches.  Behind an empty one the next search must not find
 * it again: it wants another match at the same place, else one from the next
 * character on.
 */
static void
replace_all(FloPattern *pattern, const char *text, int len, StringInfo out)
{
	const		PCRE2_SIZE *ends = pcre2_get_ovector_pointer(pattern->match);
	PCRE2_SIZE	done = 0;
	bool		found = true;

	while (found)
	{
		PCRE2_SIZE	start = ends[0];
		PCRE2_SIZE	end = ends[1];

		/* \K within a lookahead can make a match end before it begins */
		if (start < done || end < start)
			break;
		CHECK_FOR_INTERRUPTS();
		appendBinaryStringInfo(out, text + done, (int) (start - done));
		append_replacement(pattern, text, out);
		done = end;
		if (start != end)
		{
			found = search(pattern, text, len, end, 0);
			continue;
		}
		if (end >= len)
			break;
		if (search(pattern, text, len, end, PCRE2_NOTEMPTY_ATSTART | PCRE2_ANCHORED))
			continue;
		end += pattern->utf ? pg_utf_mblen((const unsigned char *) text + end) : 1;
		appendBinaryStringInfo(out, text + done, (int) (end - done));
		done = end;
		found = search(pattern, text, len, end, 0);
	}
	appendBinaryStringInfo(out, text + done, (int) (len - done));
}

bool
flo_pattern_replace(FloPattern *pattern, const char *text, int len, StringInfo result)
{
	char	   *subject = to_utf8(text, len);
	char	   *back;

	if (subject != text)
		len = strlen(subject);
	if (!search(pattern, subject, len, 0, 0))
		return false;
	resetStringInfo(result);
	replace_all(pattern, subject, len, result);
	back = from_utf8(result->data, result->len);
	if (back != result->data)
	{
		resetStringInfo(result);
		appendStringInfoString(result, back);
	}
	return true;
}
