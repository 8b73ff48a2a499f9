// What both programs check with: the first failure ends them with its line.
#ifndef CM3LEON_TEST_CHECK_H
#define CM3LEON_TEST_CHECK_H

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#define CHECK(Condition)                                                                                               \
    do {                                                                                                               \
        if (!(Condition)) {                                                                                            \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #Condition);                               \
            std::_Exit(1);                                                                                             \
        }                                                                                                              \
    } while (0)

/** Frames until the condition holds, two minutes of them at most. */
template <typename Frame, typename Condition> inline int FramesUntil(Frame Tick, Condition Holds) {
    const auto Latest = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    int Frames = 0;
    for (; !Holds(); ++Frames) {
        CHECK(std::chrono::steady_clock::now() < Latest);
        Tick();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return Frames;
}

#endif
