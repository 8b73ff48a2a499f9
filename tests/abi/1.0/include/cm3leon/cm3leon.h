/**
 * @file
 * libcm3leon: text and image generation by a token-based, decoder-only model. This header includes all the others.
 */
#ifndef CM3LEON_H
#define CM3LEON_H

#include "cm3leon/bank.h"
#include "cm3leon/base.h"
#include "cm3leon/context.h"
#include "cm3leon/document.h"
#include "cm3leon/image.h"
#include "cm3leon/model.h"
#include "cm3leon/request.h"
#include "cm3leon/retriever.h"
#include "cm3leon/sampler.h"
#include "cm3leon/task.h"
#include "cm3leon/tokenizer.h"
#include "cm3leon/train.h"

#endif
