/* parallel_for: the one seam to threads. OpenMP, or pthreads where CM3_WITH_OPENMP is off. */
#ifndef CM3_BASE_PARALLEL_H
#define CM3_BASE_PARALLEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** A team of a fixed size, run by one thread at a time. */
typedef struct cm3_team cm3_team;

int cm3_team_size(const cm3_team *team);

/** Work on items begin..end-1; `member` is 0..size-1 and no two calls at the same time share it. */
typedef void (*cm3_range_fn)(void *arg, int64_t begin, int64_t end, int member);

/**
 * Parts 0..count-1 into at most size contiguous ranges of at least `grain` items, one a member (static: the same count
 * and team give the same parts), runs them and waits. count <= grain, a team of one, or team NULL: one call here.
 */
void cm3_parallel_for(cm3_team *team, int64_t count, int64_t grain, cm3_range_fn fn, void *arg);

/**
 * The same for work whose results do not depend on how it is parted: each member takes another range of at least
 * `grain` items whenever it is free, large ones first, so that one that is slowed down holds nobody up.
 */
void cm3_parallel_guided(cm3_team *team, int64_t count, int64_t grain, cm3_range_fn fn, void *arg);

/** Whether this thread runs somebody's range now: it cannot have the team. */
bool cm3_parallel_inside(void);

/** Runs `first` here and `second` on the team's other end at the same time, and waits for both; ranges that come from
 * either run there alone. Where the system gives no second thread, one behind the other. */
void cm3_parallel_pair(cm3_team *team, void (*first)(void *arg), void (*second)(void *arg), void *arg);

/**
 * Around the start of every thread of the library: it takes no signals but those of its own faults, for the host's are
 * for the host's threads. `old_mask` is a sigset_t: what is to be restored.
 */
void cm3_signals_block(void *old_mask);
void cm3_signals_restore(const void *old_mask);

#endif
