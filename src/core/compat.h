/*
 * compat.h
 *		What every file may need of newer versions of PostgreSQL.
 *
 * This file and compat_*.h are the only ones that know versions: wrappers with
 * the newest signature for what changed between 15 and 19, by what they wrap.
 */
#ifndef FLO_COMPAT_H
#define FLO_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "pg_flo needs PostgreSQL 15 or later"
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* Before the declaration, as newer versions want it */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

#ifndef pg_fallthrough
#define pg_fallthrough __attribute__((fallthrough))
#endif

#endif
