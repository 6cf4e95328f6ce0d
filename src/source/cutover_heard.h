/*
 * cutover_heard.h
 *		What the workers of a group say of cut-overs to them, as it comes in.
 */
#ifndef FLO_CUTOVER_HEARD_H
#define FLO_CUTOVER_HEARD_H

#include "bus/cutover_record.h"

/* A key of the state bucket and its value, NULL when it was removed; any key */
extern void flo_cutover_hear(const char *key, const char *value);

/* NULL when the worker has not said anything; valid until more is heard */
extern const FloCutoverRecord *flo_cutover_heard(const char *consumer);

#endif
