/*
 * function.h
 *		How a function is made known to SQL.
 *
 * The server asks for the record below when a session calls the function for the
 * first time, or makes it known.  A declaration of another version of pg_flo may
 * have other arguments and results than what is compiled here, so it is never
 * called: a library that was installed before ALTER EXTENSION pg_flo UPDATE says
 * that instead.  A function whose result gets other columns gets another name,
 * too, so that an older library does not find it.
 */
#ifndef FLO_API_FUNCTION_H
#define FLO_API_FUNCTION_H

#include "conf/store.h"
#include "fmgr.h"
#include "miscadmin.h"

#define FLO_FUNCTION(name) \
	extern PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
	extern PGDLLEXPORT const Pg_finfo_record *CppConcat(pg_finfo_, name) (void); \
	const Pg_finfo_record * \
	CppConcat(pg_finfo_, name) (void) \
	{ \
		static const Pg_finfo_record record = {1}; \
		\
		/* pg_upgrade takes declarations over as they are */ \
		if (!IsBinaryUpgrade) \
			flo_store_require_version(); \
		return &record; \
	} \
	extern int	no_such_variable

#endif
