"""Slow, obvious references of SSD's layers: loops over single boxes, in float64."""

from __future__ import annotations

import math

import numpy as np


def area(box):
    if box[2] < box[0] or box[3] < box[1]:
        return 0.0
    return (box[2] - box[0]) * (box[3] - box[1])


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (area(a) + area(b) - width * height)


def decoded(prior, variance, code, code_type, in_target):
    v = (1, 1, 1, 1) if in_target else variance
    c = [v[k] * code[k] for k in range(4)]
    width, height = prior[2] - prior[0], prior[3] - prior[1]
    if code_type == "CORNER":
        return [prior[k] + c[k] for k in range(4)]
    if code_type == "CORNER_SIZE":
        sides = (width, height, width, height)
        return [prior[k] + c[k] * sides[k] for k in range(4)]
    x = (prior[0] + prior[2]) / 2 + c[0] * width
    y = (prior[1] + prior[3]) / 2 + c[1] * height
    w, h = math.exp(c[2]) * width, math.exp(c[3]) * height
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def encoded(prior, variance, box, code_type, in_target):
    width, height = prior[2] - prior[0], prior[3] - prior[1]
    if code_type == "CORNER":
        code = [box[k] - prior[k] for k in range(4)]
    elif code_type == "CORNER_SIZE":
        sides = (width, height, width, height)
        code = [(box[k] - prior[k]) / sides[k] for k in range(4)]
    else:
        code = [
            ((box[0] + box[2]) / 2 - (prior[0] + prior[2]) / 2) / width,
            ((box[1] + box[3]) / 2 - (prior[1] + prior[3]) / 2) / height,
            math.log((box[2] - box[0]) / width),
            math.log((box[3] - box[1]) / height),
        ]
    return code if in_target else [code[k] / variance[k] for k in range(4)]


def greedy(boxes, scores, threshold, eta, top_k=None, least=-math.inf):
    """Return the places that suppression keeps, from the highest score down."""
    order = sorted(
        (i for i in range(len(scores)) if scores[i] > least),
        key=lambda i: (-scores[i], i),
    )
    kept = []
    for i in order[:top_k]:
        if all(overlap(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
            if eta < 1 and threshold > 0.5:
                threshold *= eta
    return kept


def detections(op, locations, confidences, priors, objectness=None, refined=None):
    """Return the rows of DetectionOutput."""
    items, count = len(locations), op.priors
    places = 1 if op.share_location else op.num_classes
    codes = locations.reshape(items, count, places, 4)
    scores = confidences.reshape(items, count, op.num_classes)
    prior, variance = priors.reshape(2, count, 4)
    rows = []
    for item in range(items):
        found = []
        for c in range(op.num_classes):
            if c == op.background:
                continue
            place = 0 if op.share_location else c
            boxes, mine = [], []
            for p in range(count):
                anchor = prior[p]
                how = (op.code_type, op.variance_encoded_in_target)
                if refined is not None:
                    moved = refined.reshape(items, count, 4)[item, p]
                    anchor = decoded(anchor, variance[p], moved, *how)
                code = codes[item, p, place]
                boxes.append(decoded(anchor, variance[p], code, *how))
                score = scores[item, p, c]
                if objectness is not None:
                    there = objectness.reshape(items, count, 2)[item, p, 1]
                    if there < op.objectness_score:
                        score = 1.0 if c == 0 else 0.0
                mine.append(score)
            least = op.confidence_threshold
            kept = greedy(
                boxes,
                mine,
                op.nms.threshold,
                op.nms.eta,
                op.nms.top_k,
                -math.inf if least is None else least,
            )
            found += [(item, c, mine[p], *boxes[p]) for p in kept]
        if op.keep_top_k is not None and len(found) > op.keep_top_k:
            best = sorted(range(len(found)), key=lambda i: (-found[i][2], i))
            best = best[: op.keep_top_k]
            found = [found[i] for i in sorted(best, key=lambda i: found[i][1])]
        rows += found
    if not rows:
        return np.array([[item, *[-1] * 6] for item in range(items)], float)
    return np.array(rows)


def matched(op, boxes, truth):
    """Return for each box the number of its true box, -1 or -2, and its overlap."""
    found, best = [-1] * len(boxes), [0.0] * len(boxes)
    if not truth:
        return found, best
    shared = {}
    for i, box in enumerate(boxes):
        if op.ignore_cross_boundary_bbox and (min(box) < 0 or max(box) > 1):
            found[i] = -2
            continue
        for j, true in enumerate(truth):
            if overlap(box, true) > 1e-6:
                shared[i, j] = overlap(box, true)
                best[i] = max(best[i], shared[i, j])
    free = list(range(len(truth)))
    while free:
        pairs = [(i, j) for (i, j) in shared if found[i] == -1 and j in free]
        if not pairs:
            break
        i, j = max(pairs, key=lambda pair: (shared[pair], [-one for one in pair]))
        found[i], best[i] = j, shared[i, j]
        free.remove(j)
    if op.match_type == "PER_PREDICTION":
        for i in range(len(boxes)):
            able = [j for j in range(len(truth)) if (i, j) in shared]
            able = [j for j in able if shared[i, j] >= op.overlap_threshold]
            if found[i] == -1 and able:
                found[i] = max(able, key=lambda j: (shared[i, j], -j))
                best[i] = shared[i, found[i]]
    return found, best


def class_loss(op, scores, labels):
    """Return the loss of a box that has the classes `labels`."""
    if op.conf_loss_type == "SOFTMAX":
        (label,) = labels
        return math.log(sum(math.exp(s - scores[label]) for s in scores))
    return sum(
        math.log(1 + math.exp(-s if c in labels else s)) for c, s in enumerate(scores)
    )


def bent(op, d):
    if op.loc_loss_type == "SMOOTH_L1" and abs(d) >= 1:
        return abs(d) - 0.5
    return d * d / 2


def multibox_loss(op, locations, confidences, priors, truth):
    """Return the loss; see the kernel for what it is."""
    items, count = len(locations), op.priors
    places = 1 if op.share_location else op.num_classes
    codes = locations.reshape(items, count, places, 4)
    scores = confidences.reshape(items, count, op.num_classes)
    prior, variance = priors.reshape(2, count, 4)
    how = (op.code_type, op.encode_variance_in_target)
    location = confidence = matches = 0
    for item in range(items):
        rows = [row for row in truth.reshape(-1, 8) if row[0] == item]
        rows = [row for row in rows if op.use_difficult_gt or not row[7]]
        boxes = [list(row[3:7]) for row in rows]
        labels = [1 if op.map_object_to_agnostic else int(row[1]) for row in rows]

        def box_of(p, place, item=item):
            return decoded(prior[p], variance[p], codes[item, p, place], *how)

        wanted = {}  # place -> (true boxes, overlaps)
        for place in range(places) if boxes else ():
            if not op.share_location and place == op.background:
                continue
            if op.use_prior_for_matching:
                found, best = matched(op, [list(box) for box in prior], boxes)
                if not op.share_location:
                    found = [j if j >= 0 and labels[j] == place else -1 for j in found]
            else:
                mine = [
                    j
                    for j in range(len(boxes))
                    if op.share_location or labels[j] == place
                ]
                own = [box_of(p, place) for p in range(count)]
                found, best = matched(op, own, [boxes[j] for j in mine])
                found = [mine[j] if j >= 0 else j for j in found]
            wanted[place] = (found, best)

        def distance(p, place, j, item=item, boxes=boxes):
            code = encoded(prior[p], variance[p], boxes[j], *how)
            d = [codes[item, p, place, k] - code[k] for k in range(4)]
            inside = prior[p] if op.use_prior_for_matching else box_of(p, place)
            for k in range(4):
                if op.bp_inside and not 0 <= inside[k] <= 1:
                    d[k] = 0
                if op.encode_variance_in_target:
                    d[k] /= variance[p][k]
            return sum(bent(op, one) for one in d)

        negatives = []
        if op.mining_type != "NONE" and wanted:
            found, best = wanted[0]
            losses = [
                class_loss(
                    op,
                    scores[item, p],
                    {labels[found[p]] if found[p] >= 0 else op.background},
                )
                for p in range(count)
            ]
            if op.mining_type == "HARD_EXAMPLE":
                for p in range(count):
                    if found[p] >= 0:
                        losses[p] += distance(p, 0, found[p])
                able, number = list(range(count)), op.sample_size
            else:
                able = [
                    p
                    for p in range(count)
                    if found[p] == -1 and best[p] < op.neg_overlap
                ]
                number = int(sum(j >= 0 for j in found) * op.neg_pos_ratio)
            if op.nms is None:
                chosen = sorted(able, key=lambda p: (-losses[p], p))
            else:
                own = [
                    list(prior[p]) if op.use_prior_for_nms else box_of(p, 0)
                    for p in able
                ]
                order = greedy_of_large(
                    own, [losses[p] for p in able], op.nms.threshold, op.nms.top_k
                )
                chosen = [able[i] for i in order]
            chosen = chosen[:number]
            if op.mining_type == "HARD_EXAMPLE":
                for p in range(count):
                    if found[p] >= 0 and p not in chosen:
                        found[p] = -1
            negatives = [p for p in chosen if found[p] == -1]
        has = {p: set() for p in range(count)}
        for place in sorted(wanted):
            for p, j in enumerate(wanted[place][0]):
                if j < 0:
                    continue
                matches += 1
                location += distance(p, place, j)
                if op.conf_loss_type == "SOFTMAX":
                    has[p] = {labels[j]}
                else:
                    has[p].add(labels[j])
        for p in range(count):
            if has[p]:
                confidence += class_loss(op, scores[item, p], has[p])
            elif p in negatives:
                confidence += class_loss(op, scores[item, p], {op.background})
            elif op.mining_type == "NONE":
                background = {op.background} if op.conf_loss_type == "SOFTMAX" else {}
                confidence += class_loss(op, scores[item, p], background)
    divisors = dict(VALID=matches, FULL=items * count, BATCH_SIZE=items, NONE=1)
    total = op.loc_weight * location * op.locations_count
    total += confidence * op.confidences_count
    return np.array(total / max(1, divisors.get(op.normalization, op.fixed)))


def greedy_of_large(boxes, scores, threshold, top_k):
    """Keep as `greedy` does, of the `top_k` best the boxes that are not tiny."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:top_k]
    kept = []
    for i in order:
        if area(boxes[i]) >= 1e-5 and all(
            overlap(boxes[i], boxes[j]) <= threshold for j in kept
        ):
            kept.append(i)
    return kept
