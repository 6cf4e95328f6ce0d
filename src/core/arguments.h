/*
 * arguments.h
 *		Arguments of SQL-callable functions that must be given.
 */
#ifndef FLO_ARGUMENTS_H
#define FLO_ARGUMENTS_H

#include "fmgr.h"

/* Raise 22004 naming the argument when it is NULL; "n" counts from 0 */
extern void flo_argument_require(FunctionCallInfo fcinfo, int n, const char *name);

/* The same, and its text in the current memory context */
extern char *flo_argument_text(FunctionCallInfo fcinfo, int n, const char *name);

#endif
