/*
 * harmless.h
 *		Which of the server's own functions may be called without care.
 */
#ifndef FLO_HARMLESS_H
#define FLO_HARMLESS_H

#include "postgres.h"

/*
 * Is it built in, and runs nothing but itself?  Types of users that are among its
 * arguments may bring code along all the same.
 */
extern bool flo_function_is_harmless(Oid function);

#endif
