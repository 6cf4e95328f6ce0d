/*
 * clock.h
 *		For how long, not for when: a clock that nobody sets.
 *
 * The time of day may jump by hours, in either direction.  Whatever waits for a
 * while, or does something now and then, goes by this one; it is the same in all
 * processes of a machine, until that is started again.
 */
#ifndef FLO_CLOCK_H
#define FLO_CLOCK_H

#include "portability/instr_time.h"

typedef int64 FloClock;			/* microseconds; 0 = long ago */

#define FLO_CLOCK_START (INT64CONST(1) << 50)

static inline FloClock
flo_clock(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return FLO_CLOCK_START + (FloClock) INSTR_TIME_GET_MICROSEC(now);
}

/* In so many milliseconds */
static inline FloClock
flo_clock_in(int64 ms)
{
	return flo_clock() + ms * 1000;
}

/* ms that are left until then, 0 when none are */
static inline long
flo_clock_left(FloClock until)
{
	FloClock	now = flo_clock();

	return until > now ? (long) ((until - now + 999) / 1000) : 0;
}

/* ms since then */
static inline long
flo_clock_since(FloClock then)
{
	return (long) ((flo_clock() - then) / 1000);
}

/* Is it at least so many ms ago? */
static inline bool
flo_clock_passed(FloClock since, int64 ms)
{
	return flo_clock() - since >= ms * 1000;
}

#endif							/* FLO_CLOCK_H */
