/*
 * injection_point.h
 *		Named points at which a test may halt a background process.
 *
 * The setting pg_flo.stop_at names one point, or "name:n" for the n-th time
 * the process comes by.  The process that reaches it while a file pg_flo.stop
 * is in the data directory removes the file and halts there until it is
 * killed: the file makes it happen once, so that the process that follows is
 * not caught as well.  While nothing is named, a point costs one test of a
 * pointer.
 */
#ifndef FLO_INJECTION_POINT_H
#define FLO_INJECTION_POINT_H

/* The point named by pg_flo.stop_at, NULL when none is */
extern const char *flo_injection_point_name;

extern void flo_injection_point_define(void);
extern void flo_injection_point_passed(const char *name);

static inline void
flo_injection_point(const char *name)
{
	if (unlikely(flo_injection_point_name != NULL))
		flo_injection_point_passed(name);
}

#endif
