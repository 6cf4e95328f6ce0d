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
 *
 * The library of 0.1 compares no versions.  So scripts name each function with _v2
 * behind, which that one has none of: it finds nothing to call where the extension
 * is newer.  The plain names are for the script of 0.1, to be told to update.
 */
#ifndef FLO_API_FUNCTION_H
#define FLO_API_FUNCTION_H

#include "conf/store.h"
#include "fmgr.h"
#include "miscadmin.h"

#define FLO_RECORD(name, check) \
	extern PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
	extern PGDLLEXPORT const Pg_finfo_record *pg_finfo_##name(void); \
	const Pg_finfo_record * \
	pg_finfo_##name(void) \
	{ \
		static const Pg_finfo_record record = {1}; \
		\
		check; \
		return &record; \
	}

#define FLO_BOTH_NAMES(name, check) \
	FLO_RECORD(name, check) \
	FLO_RECORD(name##_v2, check) \
	Datum \
	name##_v2(PG_FUNCTION_ARGS) \
	{ \
		return name(fcinfo); \
	} \
	extern int	no_such_variable

/* pg_upgrade takes declarations over as they are */
#define FLO_FUNCTION(name) \
	FLO_BOTH_NAMES(name, if (!IsBinaryUpgrade) flo_store_require_version())

/* An event trigger, which looks at the version by itself where that matters */
#define FLO_EVENT_TRIGGER(name) \
	FLO_BOTH_NAMES(name, (void) 0)

#endif
