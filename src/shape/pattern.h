/*
 * pattern.h
 *		Regular expressions that replace every match in a value.
 */
#ifndef FLO_PATTERN_H
#define FLO_PATTERN_H

#include "lib/stringinfo.h"
#include "utils/palloc.h"

typedef struct FloPattern FloPattern;

/*
 * Compile; lives as long as the context.  "flags" (NULL: none) are letters of
 * imsx.  Throws 22023 with offset and reason for a pattern, replacement or
 * flag that is wrong.
 */
extern FloPattern *flo_pattern_compile(const char *pattern, const char *replace,
									   const char *flags, MemoryContext context);

/*
 * Replace every match in the text, which is in the database's encoding.  False
 * when there is none; else the result stands in "result", in the same
 * encoding.  Throws 54000 when matching takes too many steps, and
 * looks for interrupts while it searches.
 */
extern bool flo_pattern_replace(FloPattern *pattern, const char *text, int len,
								StringInfo result);

#endif
